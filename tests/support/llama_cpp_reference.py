"""llama.cpp's own quantizer and logits, through the low-level module of llama-cpp-python."""

import ctypes
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from edgellm.runtimes.llama_cpp.amx import amx_fallback

_Q8_0_FTYPE = 7  # only overridden, yet overrides are ignored unless the base type is quantized
_COUNT_TYPE = 43  # GGML_TYPE_COUNT: "not given"


def llama_model_quantize(
    source: Path,
    target: Path,
    types: Mapping[str, int],
    threads: int = 2,
    imatrix: Mapping[str, NDArray[np.float32]] | None = None,
) -> None:
    """Quantize a GGUF file with llama.cpp; types: ggml type by tensor name, matrices only.

    imatrix: input statistics by tensor name, where there are any.
    """
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread = threads
    params.ftype = _Q8_0_FTYPE
    params.allow_requantize = True
    params.token_embedding_type = types["token_embd.weight"]
    params.output_tensor_type = types.get("output.weight", types["token_embd.weight"])
    overrides = (llama_cpp.llama_model_tensor_override * (len(types) + 1))()
    for override, (name, ggml_type) in zip(overrides, types.items(), strict=False):
        override.pattern = f"^{re.escape(name)}$".encode()
        override.type = ggml_type
    params.tt_overrides = overrides
    entries = (llama_cpp.llama_model_imatrix_data * (len(imatrix or {}) + 1))()
    for entry, (name, moments) in zip(entries, (imatrix or {}).items(), strict=False):
        entry.name, entry.size = name.encode(), moments.size
        entry.data = moments.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    params.imatrix = entries if imatrix else None
    with quiet_llama_cpp():
        failed = llama_cpp.llama_model_quantize(
            str(source).encode(), str(target).encode(), ctypes.byref(params)
        )
    assert not failed, f"llama_model_quantize returned {failed}"


def llama_cpp_logits(
    gguf: Path, tokens: list[int], *, as_users_run_it: bool = False
) -> NDArray[np.float32]:
    """Logits at every position: [len(tokens), vocabulary].

    f32 KV cache, no flash attention, weights as they lie in the file; as_users_run_it: f16 KV
    cache, flash attention, weights rearranged where that works here.
    """
    with quiet_llama_cpp(), _context(gguf, len(tokens), as_users_run_it) as (model, context):
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for position, token in enumerate(tokens):
                batch.token[position] = token
                batch.pos[position] = position
                batch.n_seq_id[position] = 1
                batch.seq_id[position][0] = 0
                batch.logits[position] = 1
            assert llama_cpp.llama_decode(context, batch) == 0
            n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
            logits = llama_cpp.llama_get_logits(context)
            return np.ctypeslib.as_array(logits, (len(tokens), n_vocab)).copy()
        finally:
            llama_cpp.llama_batch_free(batch)


@contextmanager
def _context(gguf: Path, n_tokens: int, as_users_run_it: bool) -> Iterator[tuple[int, int]]:
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    # AMX builds of old compilers crash.
    model_params.use_extra_bufts = as_users_run_it and amx_fallback(None) is None
    model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), model_params)
    assert model, f"llama.cpp does not load {gguf}"
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = n_tokens
    params.n_threads = params.n_threads_batch = 2
    if not as_users_run_it:
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, params)
    assert context
    try:
        yield model, context
    finally:
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


@contextmanager
def quiet_llama_cpp() -> Iterator[None]:
    """Drop llama.cpp's log lines, then log as before."""
    silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
    before, before_data = llama_cpp.llama_log_callback(0), ctypes.c_void_p(0)
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(before_data))
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    try:
        yield
    finally:
        llama_cpp.llama_log_set(before, before_data)
