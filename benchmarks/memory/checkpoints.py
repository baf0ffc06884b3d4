"""Made-up checkpoints of the shapes that small models have, with vocabularies of their sizes."""

import json
import random
from dataclasses import dataclass
from math import prod
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.convert.checkpoint import (
    bf16_header,
    copy_bundled_tokenizer,
    write_random_weights,
)
from tests.support.checkpoints import (
    Config,
    model_config,
    tensor_shapes,
    write_raw_safetensors,
)

_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_LONGEST = 14  # bytes of a made-up token


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder; `tokens` made-up byte-level BPE tokens, or the bundled sentencepiece model."""

    family: str
    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int  # rows of the embedding
    tied: bool
    byte_level: bool  # as many BPE tokens as rows; else sentencepiece and reserved tokens
    zero: bool  # every weight, instead of random ones

    def config(self) -> Config:
        """config.json, in bf16, for contexts up to 16384 tokens."""
        return {
            **model_config(self.family, "BF16"),
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": 16384,
        }


def write_shape(folder: Path, shape: Shape, seed: int = 0) -> None:
    """Write the checkpoint into a new folder."""
    folder.mkdir(parents=True)
    if shape.byte_level:
        write_byte_level_bpe(folder, shape.vocab, seed)
    else:
        copy_bundled_tokenizer(folder)
    config = shape.config()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = tensor_shapes(shape.family, config)
    if shape.zero:
        _write_zero_weights(folder / "model.safetensors", shapes)
    else:
        write_random_weights(folder / "model.safetensors", shapes, seed)


def _write_zero_weights(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """bf16 safetensors whose body is a hole in the file."""
    header = bf16_header(shapes)
    write_raw_safetensors(path, json.dumps(header).encode())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 2 * sum(map(prod, shapes.values())))


def write_byte_level_bpe(folder: Path, size: int, seed: int = 0) -> None:
    """A tokenizer.json of `size` tokens: the bytes, a merge for each other token, three special."""
    tokens, merges = made_up_tokens(size - len(_SPECIAL), seed)
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": _SPECIAL[0], "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def made_up_tokens(size: int, seed: int = 0) -> tuple[list[str], list[tuple[str, str]]]:
    """The bytes and tokens joined from two earlier ones, `size` together; and the merges.

    They are long, 19 bytes on average, so that real vocabularies take no more.
    """
    rng, tokens = random.Random(seed), sorted(pre_tokenizers.ByteLevel.alphabet())
    known, merges = set(tokens), list[tuple[str, str]]()
    while len(tokens) < size:
        left, right = rng.choice(tokens), rng.choice(tokens)
        joined = left + right
        if len(joined) <= _LONGEST and joined not in known:
            known.add(joined)
            tokens.append(joined)
            merges.append((left, right))
    return tokens, merges
