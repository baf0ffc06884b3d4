"""A random Llama-shaped checkpoint of any size, written a few MiB at a time."""

import json
import shutil
from math import prod
from pathlib import Path

import numpy as np

from tests.support.checkpoints import BUNDLED, Config, model_config, stored_bytes, tensor_shapes

_PIECE_WEIGHTS = 1 << 22
_SHAPE: Config = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}


def write_large_checkpoint(folder: Path, total_bytes: int, seed: int = 0) -> int:
    """Write bf16 weights of about `total_bytes`, with as many layers as that takes.

    Returns the float32 bytes of the largest tensor.
    """
    folder.mkdir(parents=True)
    copy_bundled_tokenizer(folder)
    config = _config(_layers(total_bytes))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = tensor_shapes("llama", config)
    write_random_weights(folder / "model.safetensors", shapes, seed)
    return 4 * max(map(prod, shapes.values()))


def copy_bundled_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(BUNDLED / name, folder / name)


def _config(layers: int) -> Config:
    return {**model_config("llama", "BF16"), **_SHAPE, "num_hidden_layers": layers}


def _layers(total_bytes: int) -> int:
    def weights(layers: int) -> int:
        return sum(map(prod, tensor_shapes("llama", _config(layers)).values()))

    return max(1, round((total_bytes // 2 - weights(0)) / (weights(1) - weights(0))))


def bf16_header(shapes: dict[str, tuple[int, ...]]) -> dict[str, object]:
    """The header of a safetensors file that holds tensors of these shapes one after another."""
    header: dict[str, object] = {}
    reached = 0
    for name, shape in shapes.items():
        end = reached + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [reached, end]}
        reached = end
    return header


def write_random_weights(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    """Write bf16 safetensors of these shapes, a few MiB at a time."""
    text = json.dumps(bf16_header(shapes)).encode()
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            for start in range(0, prod(shape), _PIECE_WEIGHTS):
                count = min(_PIECE_WEIGHTS, prod(shape) - start)
                noise = generator.standard_normal(count, dtype=np.float32) * np.float32(0.02)
                file.write(stored_bytes(noise, "BF16"))
