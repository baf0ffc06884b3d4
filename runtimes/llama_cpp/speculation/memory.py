"""What speculation takes beside a model, before anything is loaded."""

import platform
from dataclasses import replace
from pathlib import Path

from edgellm.formats import EngineFacts, Tables
from edgellm.gguf_file import GGUFFile, read_gguf
from edgellm.memory import (
    RunSettings,
    compute_bytes,
    kv_cache_bytes,
    loading_bytes,
    vocabulary_bytes,
)
from edgellm.plan import DEFAULT_CONTEXT, MemoryParts
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.preconditions import KVFormats, choose_kv_formats, read_facts
from edgellm.runtimes.options import LoadOptions
from edgellm.spec import ModelSpec

NGRAM = "ngram"  # how LoadOptions.speculate names guesses from the text itself
LOGITS_ROWS = 16  # tokens of a ubatch whose logits are read
# A token in ngram.py's index: two numbers in lists, two in a dict, and what that takes to grow.
NGRAM_TOKEN_BYTES = 184
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"


def speculation_memory(spec: ModelSpec, run: RunSettings, speculate: str) -> MemoryParts:
    """Predicted bytes that guessing adds to a model loaded with these settings.

    speculate: as in LoadOptions. Raises InputError for a draft model's file that is none.
    """
    engine = load_tables().engines["llama.cpp"]
    more_rows = replace(run, logits_rows=LOGITS_ROWS)
    rows_bytes = compute_bytes(spec, more_rows, engine) - compute_bytes(spec, run, engine)
    rows = MemoryParts(0, 0, rows_bytes, 0)
    if speculate == NGRAM:
        return rows + MemoryParts(0, 0, 0, NGRAM_TOKEN_BYTES * run.context)
    draft = read_gguf(Path(speculate))
    facts = read_facts(draft)
    formats = choose_kv_formats(None, None, facts, on_gpu=False)
    return rows + draft_memory(draft, formats, min(run.context, facts.trained_context), run.ubatch)


def speculation_memory_of(file: GGUFFile, options: LoadOptions) -> MemoryParts:
    """The same of a model's file; nothing where nothing is to be guessed. Raises InputError."""
    if options.speculate is None:
        return MemoryParts(0, 0, 0, 0)
    facts = read_facts(file)
    formats = choose_kv_formats(options.key_format, options.value_format, facts, on_gpu=False)
    context = min(options.context or DEFAULT_CONTEXT, facts.trained_context)
    run = RunSettings(formats.key, formats.value, context, options.ubatch)
    return speculation_memory(spec_of(file), run, options.speculate)


def most_speculation_memory(spec: ModelSpec, context: int, speculate: str) -> MemoryParts:
    """What guessing adds at most, whatever ubatch a plan chooses. Raises InputError."""
    tables = load_tables()
    plain = tables.kv_formats["f16"]
    every = (
        speculation_memory(spec, RunSettings(plain, plain, context, ubatch), speculate)
        for ubatch in tables.engines["llama.cpp"].ubatches
    )
    return max(every, key=lambda parts: parts.total_bytes)


def draft_memory(
    draft: GGUFFile, formats: KVFormats, context_tokens: int, ubatch: int
) -> MemoryParts:
    """Predicted bytes of a draft model beside another model in the same process.

    Raises FormatError.
    """
    tables = load_tables()
    engine = tables.engines["llama.cpp"]
    spec = spec_of(draft)
    run = RunSettings(formats.key, formats.value, context_tokens, ubatch)
    cache_bytes, scratch_bytes = kv_cache_bytes(spec, run, engine), compute_bytes(spec, run, engine)
    loading_excess = max(loading_bytes(spec, engine) - cache_bytes - scratch_bytes, 0)
    standing_bytes = engine.layer_bytes * spec.layers + vocabulary_bytes(spec, engine)
    return MemoryParts(
        weights_bytes=loaded_weights_bytes(draft, engine, tables),
        kv_cache_bytes=cache_bytes,
        compute_bytes=scratch_bytes,
        overhead_bytes=standing_bytes + loading_excess,
    )


def loaded_weights_bytes(file: GGUFFile, engine: EngineFacts, tables: Tables) -> int:
    """Of all tensors: a tied embedding is kept twice where its format is rearranged."""
    names = {row.ggml_type: name for name, row in tables.weight_formats.items()}
    tied = not any(tensor.name == _HEAD for tensor in file.tensors)
    total_bytes = 0
    for tensor in file.tensors:
        repacked = engine.repacks(names.get(tensor.ggml_type, ""), platform.machine())
        copies = 2 if tied and repacked and tensor.name == _EMBEDDING else 1
        total_bytes += copies * engine.padded_tensor_bytes(tensor.bytes)
    return total_bytes


def spec_of(file: GGUFFile) -> ModelSpec:
    """As much of a spec as memory depends on. Raises FormatError."""
    facts = read_facts(file)
    rows, hidden = next(
        (t.shape for t in file.tensors if t.name == _EMBEDDING and len(t.shape) == 2), (0, 1)
    )
    head_dim = max(facts.key_head_dim, facts.value_head_dim)
    return ModelSpec(
        family=facts.architecture,
        name=file.path.stem,
        layers=facts.layers,
        hidden_size=hidden,
        ffn_size=_largest(file, f"{facts.architecture}.feed_forward_length"),
        # A model of states alone has none; nothing is guessed for it, and nothing divides by it.
        heads=max(_largest(file, f"{facts.architecture}.attention.head_count"), 1),
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
