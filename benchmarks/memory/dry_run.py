"""Asks llama.cpp itself what a model of a given shape will take, without allocating it.

The GGUF is a header and a hole: `no_alloc` plans and logs every buffer, and reads no tensor.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

from edgellm.converters.gguf.tensors import output_tensors
from edgellm.formats import Tables
from edgellm.memory import RunSettings
from edgellm.plan import Plan
from edgellm.spec import ModelSpec

_BUFFER = re.compile(r"(?:compute|output) buffer size = +([0-9.]+) MiB")
_CACHE = re.compile(r"llama_kv_cache: size = +([0-9.]+) MiB")
_MIB = 2**20


# The engine keeps the callback, so it must outlive every call.
_DROP = llama_cpp.llama_log_callback(lambda _level, _text, _user: None)


@dataclass(frozen=True, slots=True)
class DryRun:
    """Bytes the engine says it will allocate; scratch to the 0.01 MiB that it prints."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int  # graph and logits


def write_hollow_gguf(path: Path, spec: ModelSpec, plan: Plan, tables: Tables) -> None:
    """Write a GGUF of the plan's formats whose tensor data is a hole in the file."""
    writer = gguf.GGUFWriter(path, spec.family)
    _add_metadata(writer, spec)
    # Nothing is rounded here, so any format will do.
    tensors = output_tensors(spec, plan, tables, {tensor.name for tensor in spec.tensors})
    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name,
            _byte_shape(tensor.shape, tensor.format.block, tensor.format.block_bytes),
            np.dtype(np.uint8),
            tensor.bytes,
            raw_dtype=gguf.GGMLQuantizationType(tensor.format.ggml_type),
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    engine = tables.engines["llama.cpp"]
    header_bytes = engine.padded_tensor_bytes(path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(header_bytes + sum(engine.padded_tensor_bytes(t.bytes) for t in tensors))


def _byte_shape(shape: tuple[int, ...], block: int, block_bytes: int) -> tuple[int, ...]:
    return (*shape[:-1], shape[-1] // block * block_bytes)


def _add_metadata(writer: gguf.GGUFWriter, spec: ModelSpec) -> None:
    writer.add_context_length(spec.context_length)
    writer.add_embedding_length(spec.hidden_size)
    writer.add_block_count(spec.layers)
    writer.add_feed_forward_length(spec.ffn_size)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_layer_norm_rms_eps(spec.norm_epsilon)
    writer.add_rope_freq_base(spec.rope_theta)
    writer.add_vocab_size(spec.vocab_size)
    writer.add_tokenizer_model("no_vocab")


def dry_run(path: Path, run: RunSettings) -> DryRun:
    """Load `path` without its tensors and collect what the engine says it would allocate."""
    lines: list[str] = []

    collect = llama_cpp.llama_log_callback(
        lambda _level, text, _user: lines.append(text.decode(errors="replace"))
    )
    llama_cpp.llama_log_set(collect, None)
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.no_alloc, params.load_mode = True, llama_cpp.LLAMA_LOAD_MODE_NONE
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise RuntimeError("".join(lines[-5:]))
    context = llama_cpp.llama_init_from_model(model, context_params(run))
    if not context:
        raise RuntimeError("".join(lines[-5:]))
    weights_bytes = llama_cpp.llama_model_size(model)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_log_set(_DROP, None)
    log = "".join(lines)
    return DryRun(
        weights_bytes=weights_bytes,
        kv_cache_bytes=round(sum(map(float, _CACHE.findall(log))) * _MIB),
        compute_bytes=round(sum(map(float, _BUFFER.findall(log))) * _MIB),
    )


def context_params(run: RunSettings) -> llama_cpp.llama_context_params:
    """Context parameters as the memory model presumes them: one sequence, flash attention."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = run.context
    params.n_batch = params.n_ubatch = min(run.ubatch, run.context)
    params.n_seq_max, params.n_outputs_max = 1, run.logits_rows
    params.kv_unified, params.swa_full = True, False
    params.type_k, params.type_v = run.key.ggml_type, run.value.ggml_type
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.offload_kqv = False
    return params
