"""The two slow calls into llama.cpp: reading the weights and making room for the KV cache."""

import ctypes
import os
import sys
from pathlib import Path
from types import MappingProxyType

from edgellm.errors import Cancelled
from edgellm.events import LoadProgress
from edgellm.interrupts import HeldInterrupt, interrupts_held
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import Library, StatusError
from edgellm.runtimes.llama_cpp.preconditions import KVFormats
from edgellm.runtimes.protocol import EventSink

_LOAD_MODES = MappingProxyType(
    {
        "read": llama.LLAMA_LOAD_MODE_NONE,
        "mapped": llama.LLAMA_LOAD_MODE_MMAP,
        "locked": llama.LLAMA_LOAD_MODE_MMAP_MLOCK,
    }
)


def load_weights(
    library: Library,
    path: Path,
    *,
    gpu_layers: int,
    extra_buffers: bool,
    adds_space_prefix: bool,
    on_event: EventSink,
    cancel: CancelToken,
    weights: str = "read",
) -> llama.llama_model_p:
    """Read the file and rearrange what the processor wants otherwise; the caller frees the model.

    extra_buffers: rearranged copies of weights, which are faster, and AMX. adds_space_prefix:
    whether llama.cpp may put a space before text, as it does for some vocabularies. weights: one
    of options.WEIGHT_PLACES; mapped ones are used as they lie in the file.
    Raises Cancelled, RuntimeFailure, or whatever `on_event` raised.
    """
    params = llama.llama_model_default_params()
    params.load_mode = _LOAD_MODES[weights]
    params.n_gpu_layers = gpu_layers
    # Pages of a rearranged tensor would stay resident beside it, over the budget.
    params.use_extra_bufts = extra_buffers and weights == "read"
    if not adds_space_prefix:
        params.kv_overrides = _no_space_prefix()
    with library.failures(f"cannot load {path}"), interrupts_held() as interrupt:
        progress = _Progress(on_event, cancel, interrupt)
        params.progress_callback = progress.callback
        model = llama.llama_model_load_from_file(os.fsencode(path), params)
        if model is not None and progress.stopped:
            llama.llama_model_free(model)
        if progress.error is not None:
            raise progress.error
        if cancel.cancelled:
            raise Cancelled(f"loading {path} was cancelled")
        if model is None:
            raise StatusError("the engine refused it")
    _give_back_freed_memory()
    return model


def _give_back_freed_memory() -> None:
    """Return what loading has freed: glibc would keep it resident, 100 bytes a token."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def make_context(
    library: Library,
    model: llama.llama_model_p,
    formats: KVFormats,
    *,
    context_tokens: int,
    ubatch: int,
    threads: int,
    logits_rows: int = 1,
) -> Context:
    """Raises RuntimeFailure, most likely for want of memory.

    logits_rows: tokens of a ubatch whose logits are read; a row for each of them would be the
    largest buffer.
    """
    params = llama.llama_context_default_params()
    params.n_ctx = context_tokens
    params.n_batch = params.n_ubatch = min(ubatch, context_tokens)
    params.n_outputs_max = logits_rows
    # All sequences share the cells. Batches are of one, so logits for more need no room.
    params.kv_unified, params.n_seq_max = True, 1
    params.swa_full = False
    params.n_threads = params.n_threads_batch = threads
    params.type_k, params.type_v = formats.key.ggml_type, formats.value.ggml_type
    params.flash_attn_type = (
        llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
        if formats.value.needs_flash_attention_for_v
        else llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    )
    doing = f"cannot make a context of {context_tokens} tokens"
    with library.failures(doing), interrupts_held() as interrupt:
        handle = llama.llama_init_from_model(model, params)
        if handle is None:
            raise StatusError("the engine refused it")
        if interrupt.came:
            llama.llama_free(handle)
    return Context(handle, params.n_ubatch)


def _no_space_prefix() -> "ctypes.Array[llama.llama_model_kv_override]":
    overrides: ctypes.Array[llama.llama_model_kv_override] = (
        llama.llama_model_kv_override * 2
    )()  # the second, empty one ends the list
    overrides[0].key = b"tokenizer.ggml.add_space_prefix"
    overrides[0].tag = llama.LLAMA_KV_OVERRIDE_TYPE_BOOL
    overrides[0].value.val_bool = False
    return overrides


class _Progress:
    """Passes progress on; an exception waits here until llama.cpp, which is no Python, returned."""

    def __init__(self, on_event: EventSink, cancel: CancelToken, interrupt: HeldInterrupt) -> None:
        self._on_event = on_event
        self._cancel = cancel
        self._interrupt = interrupt
        self.error: BaseException | None = None
        self.callback = llama.llama_progress_callback(self._receive)

    @property
    def stopped(self) -> bool:
        return self.error is not None or self._cancel.cancelled or self._interrupt.came

    def _receive(self, fraction: float, _: object) -> bool:
        try:
            self._on_event(LoadProgress(fraction))
        except BaseException as error:
            self.error = error
        return not self.stopped
