"""How many bytes a model takes in an engine, part by part, before anything is loaded.

Weights and KV cache are exact. Compute buffers are an upper bound, fitted to and checked against
the engine's own plan of its buffers (benchmarks/memory/compute_buffers.py); overhead is measured
(benchmarks/memory/overhead.py) and holds a reserve, which quant_tables/engines.toml states.
"""

from dataclasses import dataclass
from math import ceil

from edgellm.formats import EngineFacts, KVFormat, WeightFormat
from edgellm.plan import MemoryParts
from edgellm.spec import ModelSpec, Role, TensorSpec

F32_BYTES = 4
F16_BYTES = 2


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What one run of a model is sized for."""

    key: KVFormat
    value: KVFormat
    context: int  # tokens the KV cache holds
    ubatch: int  # tokens computed at once
    logits_rows: int = 1  # tokens of a ubatch whose logits are wanted; more to check guesses


def tensor_bytes(tensor: TensorSpec, weight_format: WeightFormat) -> int:
    """Bytes of a tensor in a file; vectors are float32 whatever the format."""
    if not tensor.is_matrix:
        return tensor.elements * F32_BYTES
    return weight_format.tensor_bytes(tensor.shape)


def resident_bytes(
    spec: ModelSpec,
    tensor: TensorSpec,
    weight_format: WeightFormat,
    engine: EngineFacts,
    machine: str,
) -> int:
    """Bytes of a tensor once loaded: padded, and twice where a tied embedding is rearranged."""
    padded = engine.padded_tensor_bytes(tensor_bytes(tensor, weight_format))
    is_tied = tensor.role is Role.TOKEN_EMBEDDING and spec.tied_embeddings
    copies = 2 if is_tied and engine.repacks(weight_format.name, machine) else 1
    return copies * padded


def kv_cache_bytes(spec: ModelSpec, run: RunSettings, engine: EngineFacts) -> int:
    """Bytes of K and V of every layer, for the context as the engine pads it."""
    token_bytes = run.key.row_bytes(spec.kv_width) + run.value.row_bytes(spec.kv_width)
    return spec.layers * engine.padded_context(run.context) * token_bytes


def compute_bytes(spec: ModelSpec, run: RunSettings, engine: EngineFacts) -> int:
    """Upper bound of the scratch: the engine's buffers, the CPU's work rows, the sampler's list."""
    # Sampling lists every token with its logit and probability, and orders them.
    sampling_bytes = 16 * spec.vocab_size
    return buffer_bytes(spec, run, engine) + _work_bytes(spec, run, engine) + sampling_bytes


def buffer_bytes(spec: ModelSpec, run: RunSettings, engine: EngineFacts) -> int:
    """Upper bound of the buffers that the engine plans: graph tensors, inputs, logits."""
    cells, tokens = engine.padded_context(run.context), _ubatch(run, engine)
    graph_bytes = F32_BYTES * tokens * _live_elements(spec)
    mask_bytes = F16_BYTES * tokens * cells
    # Token ids, positions and cache indices, and the padding of every small tensor.
    inputs_bytes = 80 * tokens + 4096
    logits_bytes = _logits_bytes(spec, run, graph_bytes)
    caches_bytes = sum(_cache_scratch_bytes(spec, fmt, cells) for fmt in (run.key, run.value))
    return graph_bytes + mask_bytes + inputs_bytes + logits_bytes + caches_bytes


def _logits_bytes(spec: ModelSpec, run: RunSettings, graph_bytes: int) -> int:
    """Of logits in the graph, and as handed to the caller. The graph puts all rows but one where
    the blocks, which are done by then, had theirs, and leaves holes of up to two rows there.
    """
    row_bytes = F32_BYTES * spec.vocab_size
    more_bytes = (run.logits_rows - 1) * row_bytes
    holes_bytes = 2 * row_bytes if more_bytes else 0
    return 2 * row_bytes + more_bytes + holes_bytes + max(more_bytes - graph_bytes, 0)


def _work_bytes(spec: ModelSpec, run: RunSettings, engine: EngineFacts) -> int:
    """A matrix product rewrites its input in the weights' own precision, at most two bytes each."""
    widest = max(spec.ffn_size, spec.hidden_size, _query_width(spec))
    return F16_BYTES * _ubatch(run, engine) * widest


def _ubatch(run: RunSettings, engine: EngineFacts) -> int:
    """Tokens computed at once; never more than the cache holds."""
    return min(run.ubatch, engine.padded_context(run.context))


def _query_width(spec: ModelSpec) -> int:
    return spec.heads * spec.head_dim


def _live_elements(spec: ModelSpec) -> int:
    """Float32 elements per token alive at once in the widest moment of a decoder block."""
    hidden, ffn, kv = spec.hidden_size, spec.ffn_size, spec.kv_width
    query = _query_width(spec)
    # The allocator leaves holes of a query row's size; gate, up and their product do not fit.
    feed_forward = 3 * ffn + 3 * hidden + query * ceil(hidden / query)
    attention = max(
        2 * hidden + 2 * query + 3 * kv, 4 * hidden + 2 * query + 2 * kv, hidden + 3 * query
    )
    return max(feed_forward, attention)


def _cache_scratch_bytes(spec: ModelSpec, fmt: KVFormat, cells: int) -> int:
    """Scratch that reading one cache takes: a float16 copy of float32, or the rotation of heads.

    llama.cpp turns heads by a Hadamard matrix before they enter a quantized cache; its side is the
    largest power of two that divides a head, and heads that 64 does not divide are left alone.
    """
    if fmt.name == "f32":
        return F16_BYTES * cells * spec.kv_width
    if fmt.block == 1 or spec.head_dim % 64:
        return 0
    side = spec.head_dim & -spec.head_dim
    return F32_BYTES * side * side


def overhead_bytes(spec: ModelSpec, engine: EngineFacts) -> int:
    """Bytes of the process, of the engine's bookkeeping and of the vocabulary, and the reserve."""
    return (
        engine.process_bytes
        + engine.layer_bytes * spec.layers
        + vocabulary_bytes(spec, engine)
        + engine.reserve_bytes
    )


def vocabulary_bytes(spec: ModelSpec, engine: EngineFacts) -> int:
    """Bytes of the engine's list of tokens."""
    if spec.sentencepiece:
        return engine.piece_bytes * spec.vocab_size
    return engine.byte_level_bytes + engine.byte_level_token_bytes * spec.vocab_size


def loading_bytes(spec: ModelSpec, engine: EngineFacts) -> int:
    """Bytes that only loading takes: the file's own list of tokens, beside the vocabulary."""
    return engine.token_loading_bytes * spec.vocab_size


def memory_parts(
    spec: ModelSpec, weights_bytes: int, run: RunSettings, engine: EngineFacts
) -> MemoryParts:
    """Every part of what a loaded model takes, at the moment when it takes most."""
    cache_bytes, scratch_bytes = kv_cache_bytes(spec, run, engine), compute_bytes(spec, run, engine)
    # The cache and the scratch come after loading, in the place of what it has given back.
    loading_excess = max(loading_bytes(spec, engine) - cache_bytes - scratch_bytes, 0)
    prompt_bytes = engine.prompt_token_bytes * run.context
    standing_bytes = cache_bytes + scratch_bytes + overhead_bytes(spec, engine) + prompt_bytes
    # All of it in steps of the tensors' padding, so that planning can count in those.
    beside_bytes = engine.padded_tensor_bytes(standing_bytes + loading_excess)
    return MemoryParts(
        weights_bytes=weights_bytes,
        kv_cache_bytes=cache_bytes,
        compute_bytes=scratch_bytes,
        overhead_bytes=beside_bytes - cache_bytes - scratch_bytes,
    )
