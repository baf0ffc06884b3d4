"""Tiny random checkpoints, written with numpy alone."""

import json
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BUNDLED = Path(__file__).parents[2] / "edgellm" / "data" / "novelist-7m"
NOVELIST_VOCAB = 4096

Config = dict[str, object]
Arrays = Mapping[str, NDArray[np.float32]]

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_SIZES: Config = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_FAMILY_KEYS: dict[str, Config] = {
    "llama": {"attention_bias": False, "mlp_bias": False},
    "mistral": {"sliding_window": None},
    "qwen2": {"use_sliding_window": False, "sliding_window": None, "max_window_layers": 2},
    "qwen3": {"use_sliding_window": False, "sliding_window": None, "attention_bias": False},
}


def write_checkpoint(
    folder: Path,
    family: str = "llama",
    *,
    dtype: str = "F32",
    shards: int = 1,
    tokenizer: bool = False,
    transformers: int = 5,
    seed: int = 0,
    **config: object,
) -> Path:
    """Write a random checkpoint into `folder` and return the folder.

    dtype: "F32", "F16" or "BF16". tokenizer: copy the bundled 4096-token sentencepiece model.
    transformers: the major version whose config.json keys are used. config: keys that replace the
    defaults (vocab_size, tie_word_embeddings, attention_bias ...).
    """
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        config = {"vocab_size": NOVELIST_VOCAB, **config}
        for name in ("tokenizer.model", "tokenizer_config.json"):
            shutil.copyfile(BUNDLED / name, folder / name)
    written = model_config(family, dtype, transformers, **config)
    (folder / "config.json").write_text(json.dumps(written, indent=2), encoding="utf-8")
    write_weights(folder, random_tensors(family, written, seed), dtype, shards)
    return folder


def model_config(
    family: str, dtype: str = "F32", transformers: int = 5, **overrides: object
) -> Config:
    """config.json as transformers 4 or 5 writes it."""
    torch_dtype = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}[dtype]
    rope: Config = (
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}, "dtype": torch_dtype}
        if transformers >= 5
        else {"rope_theta": 10000.0, "rope_scaling": None, "torch_dtype": torch_dtype}
    )
    names: Config = {"architectures": [_ARCHITECTURES[family]], "model_type": family}
    return {**names, **_SIZES, **_FAMILY_KEYS[family], **rope, **overrides}


def tensor_shapes(family: str, config: Config) -> dict[str, tuple[int, ...]]:
    """Every tensor that transformers would save for this config."""
    hidden, ffn, vocab = (
        _int(config, key) for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for layer in range(_int(config, "num_hidden_layers")):
        for name, shape in _layer_shapes(family, config, hidden, ffn).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocab, hidden)
    return shapes


def _layer_shapes(family: str, config: Config, hidden: int, ffn: int) -> dict[str, tuple[int, ...]]:
    heads, kv_heads, head = (
        _int(config, key) for key in ("num_attention_heads", "num_key_value_heads", "head_dim")
    )
    linears = {
        "self_attn.q_proj": (heads * head, hidden),
        "self_attn.k_proj": (kv_heads * head, hidden),
        "self_attn.v_proj": (kv_heads * head, hidden),
        "self_attn.o_proj": (hidden, heads * head),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "mlp.down_proj": (hidden, ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in linears.items():
        shapes[f"{name}.weight"] = shape
        if _has_bias(family, name, config):
            shapes[f"{name}.bias"] = shape[:1]
    shapes |= {"input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,)}
    if family == "qwen3":
        shapes |= {"self_attn.q_norm.weight": (head,), "self_attn.k_norm.weight": (head,)}
    return shapes


def _has_bias(family: str, linear: str, config: Config) -> bool:
    if family == "qwen2":
        return linear.endswith(("q_proj", "k_proj", "v_proj"))
    switch = "attention_bias" if linear.startswith("self_attn") else "mlp_bias"
    return switch in _FAMILY_KEYS[family] and config[switch] is True


def random_tensors(family: str, config: Config, seed: int) -> Arrays:
    """Seeded weights, scaled so that activations keep their size through the layers."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for name, shape in tensor_shapes(family, config).items():
        noise = generator.standard_normal(shape, dtype=np.float32)
        if len(shape) == 2:
            arrays[name] = noise / np.float32(np.sqrt(shape[1]))
        else:
            arrays[name] = np.float32(0.1) * noise + np.float32(name.endswith("norm.weight"))
    return arrays


def write_weights(folder: Path, arrays: Arrays, dtype: str = "F32", shards: int = 1) -> None:
    """Write model.safetensors, or `shards` files with an index."""
    if shards == 1:
        write_safetensors(folder / "model.safetensors", arrays, dtype)
        return
    names = list(arrays)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        held = names[shard::shards]
        write_safetensors(folder / file, {name: arrays[name] for name in held}, dtype)
        weight_map |= dict.fromkeys(held, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_safetensors(path: Path, arrays: Arrays, dtype: str = "F32") -> None:
    """Write one safetensors file; the header is padded to 8 bytes with spaces."""
    bodies = {name: stored_bytes(array, dtype) for name, array in arrays.items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    reached = 0
    for name, body in bodies.items():
        offsets = [reached, reached + len(body)]
        header[name] = {"dtype": dtype, "shape": arrays[name].shape, "data_offsets": offsets}
        reached += len(body)
    write_raw_safetensors(path, json.dumps(header).encode(), b"".join(bodies.values()))


def write_raw_safetensors(path: Path, header: bytes, body: bytes = b"") -> None:
    """Write any header, broken ones included."""
    padded = header + b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(padded)) + padded + body)


def stored_bytes(array: NDArray[np.float32], dtype: str) -> bytes:
    """The array as it lies in a file; bfloat16 rounds to nearest even."""
    if dtype == "BF16":
        bits = array.astype("<f4").view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return array.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def _int(config: Config, key: str) -> int:
    value = config[key]
    assert isinstance(value, int)
    return value
