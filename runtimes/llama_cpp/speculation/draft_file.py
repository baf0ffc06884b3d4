"""A draft model's file, before it is loaded: whether it fits, and what it will take."""

import platform
import struct
from pathlib import Path

from edgellm.errors import UsageError
from edgellm.formats import EngineFacts, Tables
from edgellm.gguf_file import GGUFFile
from edgellm.gguf_file.metadata import GGUFArray
from edgellm.memory import RunSettings, compute_bytes, kv_cache_bytes, vocabulary_bytes
from edgellm.plan import MemoryParts
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.preconditions import KVFormats, read_facts
from edgellm.spec import ModelSpec

_TOKENS = "tokenizer.ggml.tokens"
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"
_LENGTH = struct.Struct("<Q")  # of a string
_ENDS = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id")


def check_vocabularies(model: GGUFFile, draft: GGUFFile) -> None:
    """Token for token the same: guesses are token ids. Raises UsageError."""
    for key in _ENDS:
        found, wanted = draft.metadata.get(key), model.metadata.get(key)
        if found != wanted:
            raise _unlike(draft, f"{key} is {found}", model, f"is {wanted}")
    tokens, expected_tokens = _tokens(draft), _tokens(model)
    if len(tokens) != len(expected_tokens):
        raise _unlike(draft, f"{len(tokens)} tokens", model, f"has {len(expected_tokens)}")
    for token, (text, expected) in enumerate(zip(tokens, expected_tokens, strict=True)):
        if text != expected:
            raise _unlike(
                draft, f"token {token} is {_shown(text)}", model, f"is {_shown(expected)}"
            )


def _unlike(draft: GGUFFile, has: str, model: GGUFFile, expected: str) -> UsageError:
    return UsageError(
        f"{draft.path}: cannot draft for {model.path}: {has}, there it {expected}; use a smaller "
        "model of the same family, with the same tokenizer"
    )


def _shown(token: bytes) -> str:
    return repr(token.decode("utf-8", "replace"))


def _tokens(file: GGUFFile) -> list[bytes]:
    """The texts of all tokens, as read_gguf() has checked them; none where the file has none."""
    array = file.metadata.get(_TOKENS)
    if isinstance(array, tuple):
        return [str(text).encode() for text in array]
    if not isinstance(array, GGUFArray):
        return []
    with Path(file.path).open("rb") as source:
        source.seek(array.offset)
        raw = source.read(array.bytes)
    texts, at = [], 0
    for _ in range(array.count):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size + length
        texts.append(raw[at - length : at])
    return texts


def draft_memory(
    draft: GGUFFile, formats: KVFormats, context_tokens: int, ubatch: int
) -> MemoryParts:
    """Predicted bytes of a draft model beside another model in the same process.

    Raises FormatError.
    """
    tables = load_tables()
    engine = tables.engines["llama.cpp"]
    spec = _shape(draft)
    run = RunSettings(formats.key, formats.value, context_tokens, ubatch)
    return MemoryParts(
        weights_bytes=_weights_bytes(draft, engine, tables),
        kv_cache_bytes=kv_cache_bytes(spec, run, engine),
        compute_bytes=compute_bytes(spec, run, engine),
        overhead_bytes=engine.layer_bytes * spec.layers + vocabulary_bytes(spec, engine),
    )


def _weights_bytes(draft: GGUFFile, engine: EngineFacts, tables: Tables) -> int:
    """As loaded: a tied embedding is kept twice where its format is rearranged."""
    names = {row.ggml_type: name for name, row in tables.weight_formats.items()}
    tied = not any(tensor.name == _HEAD for tensor in draft.tensors)
    total_bytes = 0
    for tensor in draft.tensors:
        repacked = engine.repacks(names.get(tensor.ggml_type, ""), platform.machine())
        copies = 2 if tied and repacked and tensor.name == _EMBEDDING else 1
        total_bytes += copies * engine.padded_tensor_bytes(tensor.bytes)
    return total_bytes


def _shape(file: GGUFFile) -> ModelSpec:
    """As much of a spec as memory depends on. Raises FormatError."""
    facts = read_facts(file)
    rows, hidden = next(
        (tensor.shape for tensor in file.tensors if tensor.name == _EMBEDDING), (0, 1)
    )
    head_dim = max(facts.key_head_dim, facts.value_head_dim)
    return ModelSpec(
        family=facts.architecture,
        name=file.path.stem,
        layers=facts.layers,
        hidden_size=hidden,
        ffn_size=_largest(file, f"{facts.architecture}.feed_forward_length"),
        heads=_largest(file, f"{facts.architecture}.attention.head_count"),
        kv_heads=_largest(file, f"{facts.architecture}.attention.head_count_kv")
        or _largest(file, f"{facts.architecture}.attention.head_count"),
        head_dim=head_dim,
        vocab_size=rows,
        context_length=facts.trained_context,
        norm_epsilon=0.0,
        rope_theta=0.0,
        rope_scaling=None,
        tied_embeddings=not any(tensor.name == _HEAD for tensor in file.tensors),
        sliding_window=None,
        tensors=(),
        sentencepiece=file.metadata.get("tokenizer.ggml.model") == "llama",
    )


def _largest(file: GGUFFile, key: str) -> int:
    """A count, or the largest of one for each layer; 0 when the file has none."""
    value = file.metadata.get(key, 0)
    counts = value if isinstance(value, tuple) else (value,)
    return max((count for count in counts if isinstance(count, int)), default=0)
