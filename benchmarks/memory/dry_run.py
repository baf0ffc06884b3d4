"""Asks llama.cpp itself what a model of a given shape will take, without allocating it.

The GGUF is a header and a hole: `no_alloc` plans and logs every buffer, and reads no tensor.
"""

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

from edgellm.formats import Tables
from edgellm.spec import ModelSpec, Role, TensorSpec

_GGUF_NAMES = {
    Role.TOKEN_EMBEDDING: "token_embd.weight",
    Role.OUTPUT: "output.weight",
    Role.OUTPUT_NORM: "output_norm.weight",
}
_BUFFER = re.compile(r"(KV|compute|output) buffer size = +([0-9.]+) MiB")
MIB = 2**20


@dataclass(frozen=True, slots=True)
class DryRun:
    """Bytes the engine says it will allocate, to the 0.01 MiB (compute, outputs) it prints."""

    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int
    weights_bytes: int


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """What a context is made with."""

    context: int  # tokens
    ubatch: int  # tokens
    key_type: int  # ggml type ids
    value_type: int
    outputs: int  # tokens of one ubatch whose logits are wanted


def write_hollow_gguf(
    path: Path, spec: ModelSpec, tables: Tables, formats: dict[Role, str], default: str
) -> None:
    """Write a GGUF of the spec's shape whose tensor data is a hole in the file."""
    writer = gguf.GGUFWriter(path, spec.family)
    _add_metadata(writer, spec)
    for tensor in spec.tensors:
        name = formats.get(tensor.role, default) if tensor.is_matrix else "f32"
        row = tables.format_for_rows(name, tensor.shape[-1])
        writer.add_tensor_info(
            gguf_name(tensor),
            _byte_shape(tensor.shape, row.block, row.block_bytes),
            np.dtype(np.uint8),
            row.tensor_bytes(tensor.shape),
            raw_dtype=gguf.GGMLQuantizationType(row.ggml_type),
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total = sum(
        -(-tensor_bytes // 32) * 32
        for shard in writer.tensors
        for tensor_bytes in (info.nbytes for info in shard.values())
    )
    writer.close()
    with path.open("r+b") as file:
        file.truncate(-(-path.stat().st_size // 32) * 32 + total)


def _byte_shape(shape: tuple[int, ...], block: int, block_bytes: int) -> tuple[int, ...]:
    return (*shape[:-1], shape[-1] // block * block_bytes)


def gguf_name(tensor: TensorSpec) -> str:
    """The name llama.cpp gives a tensor."""
    if tensor.layer is None:
        return _GGUF_NAMES[tensor.role]
    stem, suffix = tensor.role.value, "weight"
    if stem.endswith("_bias"):
        stem, suffix = stem.removesuffix("_bias"), "bias"
    return f"blk.{tensor.layer}.{stem}.{suffix}"


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


def dry_run(path: Path, settings: ContextSettings) -> DryRun:
    """Load `path` without its tensors and collect what the engine says it would allocate."""
    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def collect(_level: int, text: bytes, _user: object) -> None:
        lines.append(text.decode(errors="replace"))

    llama_cpp.llama_log_set(collect, None)
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.no_alloc, params.load_mode = True, llama_cpp.LLAMA_LOAD_MODE_NONE
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise RuntimeError("".join(lines[-5:]))
    context = llama_cpp.llama_init_from_model(model, context_params(settings))
    if not context:
        raise RuntimeError("".join(lines[-5:]))
    weights_bytes = llama_cpp.llama_model_size(model)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), None)
    found = {"KV": 0.0, "compute": 0.0, "output": 0.0}
    for part, mib in _BUFFER.findall("".join(lines)):
        found[part] += float(mib)
    kv, compute, output = (int(found[part] * MIB) for part in ("KV", "compute", "output"))
    return DryRun(kv, compute, output, weights_bytes)


def context_params(settings: ContextSettings) -> llama_cpp.llama_context_params:
    """Context parameters as the memory model presumes them: one sequence, flash attention."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = settings.context
    params.n_batch = params.n_ubatch = settings.ubatch
    params.n_seq_max, params.n_outputs_max = 1, settings.outputs
    params.type_k, params.type_v = settings.key_type, settings.value_type
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.offload_kqv = False
    return params
