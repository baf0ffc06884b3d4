"""GGUF files for tests: handmade bytes for bad files, and a tiny random llama that runs."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import gguf
import numpy as np

U8, I8, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 1, 4, 5, 6, 7, 8, 9, 10
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def u32(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def array(key: str, kind: int, count: int, elements: bytes) -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", kind, count) + elements)


def strings(key: str, values: Sequence[str | bytes]) -> bytes:
    return array(key, STRING, len(values), b"".join(map(string, values)))


def tensor(
    name: str, shape: Sequence[int], *, ggml_type: int = 0, offset: int = 0, dims: int | None = None
) -> bytes:
    """One tensor info; shape as stored, the row length first."""
    n_dims = len(shape) if dims is None else dims
    head = string(name) + struct.pack("<I", n_dims) + struct.pack(f"<{len(shape)}Q", *shape)
    return head + struct.pack("<IQ", ggml_type, offset)


@dataclass(frozen=True)
class Handmade:
    """Every field of a GGUF file as it will be written, right or wrong."""

    magic: bytes = b"GGUF"
    version: int = 3
    pairs: tuple[bytes, ...] = (u32("my_key", 7), pair("name", STRING, string("hello")))
    tensors: tuple[bytes, ...] = (tensor("a", (4, 2)), tensor("b", (8,), offset=32))
    n_tensors: int | None = None
    n_pairs: int | None = None
    alignment: int = 32
    data: bytes = field(default=bytes(64))

    def but(self, **changes: object) -> "Handmade":
        return replace(self, **changes)  # type: ignore[arg-type]

    def to_bytes(self) -> bytes:
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_pairs = len(self.pairs) if self.n_pairs is None else self.n_pairs
        head = self.magic + struct.pack("<IQQ", self.version, n_tensors, n_pairs)
        head += b"".join(self.pairs) + b"".join(self.tensors)
        return head + bytes(-len(head) % self.alignment) + self.data


def vocabulary(words: Sequence[str] = ()) -> tuple[list[bytes], list[float], list[int]]:
    """A sentencepiece-like vocabulary: specials, 256 byte tokens, printable ASCII, words."""
    specials = [b"<unk>", b"<s>", b"</s>", *(token.encode() for token in SPECIAL_TOKENS)]
    byte_tokens = [f"<0x{byte:02X}>".encode() for byte in range(256)]
    letters = ["▁", *(chr(code) for code in range(33, 127))]
    pieces = [text.encode() for text in (*letters, *words)]
    tokens = specials + byte_tokens + pieces
    scores = [0.0] * (len(specials) + 256) + [-float(index) for index in range(len(pieces))]
    types = [2] + [3] * (len(specials) - 1) + [6] * 256 + [1] * len(pieces)
    return tokens, scores, types


@dataclass(frozen=True)
class TinyLlama:
    """A random llama; small enough to write and load in milliseconds."""

    layers: int = 2
    hidden: int = 64
    heads: int = 2
    kv_heads: int = 1
    ffn: int = 96
    context: int = 512
    seed: int = 0
    scale: float = 0.3
    architecture: str = "llama"
    chat_template: str | None = CHAT_TEMPLATE
    add_bos: bool = True
    extra: tuple[tuple[str, object], ...] = ()

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    def write(self, path: Path) -> Path:
        writer = gguf.GGUFWriter(str(path), self.architecture)
        self._write_facts(writer)
        tokens = self._write_vocabulary(writer)
        for name, shape in self._shapes(len(tokens)).items():
            writer.add_tensor(name, self._weights(name, shape))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _write_facts(self, writer: gguf.GGUFWriter) -> None:
        writer.add_block_count(self.layers)
        writer.add_context_length(self.context)
        writer.add_embedding_length(self.hidden)
        writer.add_feed_forward_length(self.ffn)
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self._kv_heads_by_layer())
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_dimension_count(self.head_dim)
        writer.add_rope_freq_base(10000.0)
        for key, value in self.extra:
            add = {
                bool: writer.add_bool,
                int: writer.add_uint32,
                float: writer.add_float32,
                str: writer.add_string,
            }
            if isinstance(value, list):
                writer.add_array(key, value)
            else:
                add[type(value)](key, value)

    def _kv_heads_by_layer(self) -> list[int]:
        return [self.kv_heads] * self.layers

    def _write_vocabulary(self, writer: gguf.GGUFWriter) -> list[bytes]:
        tokens, scores, types = vocabulary()
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(self.add_bos)
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)
        return tokens

    def _shapes(self, n_tokens: int) -> dict[str, tuple[int, ...]]:
        kv_width = self.kv_heads * self.head_dim
        shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (n_tokens, self.hidden)}
        for layer in range(self.layers):
            block = {
                "attn_norm": (self.hidden,),
                "attn_q": (self.hidden, self.hidden),
                "attn_k": (kv_width, self.hidden),
                "attn_v": (kv_width, self.hidden),
                "attn_output": (self.hidden, self.hidden),
                "ffn_norm": (self.hidden,),
                "ffn_gate": (self.ffn, self.hidden),
                "ffn_up": (self.ffn, self.hidden),
                "ffn_down": (self.hidden, self.ffn),
            }
            shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
        return shapes | {"output_norm.weight": (self.hidden,)}

    def _weights(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return np.ones(shape, np.float32)
        rng = np.random.default_rng([self.seed, *name.encode()])
        weights = rng.normal(0, self.scale, shape).astype(np.float32)
        if name == "token_embd.weight":
            weights[: 3 + len(SPECIAL_TOKENS)] = 0  # a special token is never the likeliest
        return weights
