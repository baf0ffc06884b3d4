"""The llama.cpp engine: checks a GGUF file, loads it and makes its context."""

import os
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import llama_cpp.llama_cpp as llama
import psutil

from edgellm.errors import Cancelled
from edgellm.events import EngineFallback, LoadProgress
from edgellm.gguf_file import GGUFFile, read_gguf
from edgellm.runtimes.chat_template import TemplateHelper
from edgellm.runtimes.llama_cpp.amx import amx_fallback
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import ENGINE, Library, StatusError, load_library
from edgellm.runtimes.llama_cpp.memory import logged_bytes
from edgellm.runtimes.llama_cpp.model import LlamaCppModel, Loaded
from edgellm.runtimes.llama_cpp.preconditions import (
    KVFormats,
    ModelFacts,
    choose_kv_formats,
    read_facts,
)
from edgellm.runtimes.llama_cpp.sampling import recommended_sampling
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.protocol import CancelToken, EventSink, LoadOptions, ignore_events


class LlamaCppRuntime:
    """Loads GGUF files."""

    name = ENGINE

    def __init__(self, cache_dir: Path | None = None) -> None:
        """cache_dir: where findings about this machine are kept; None keeps none."""
        self._cache_dir = cache_dir

    def load(
        self,
        path: Path,
        options: LoadOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> LlamaCppModel:
        """Check the file, then load it; see edgellm.runtimes.protocol.Runtime.load."""
        started = perf_counter()
        file = read_gguf(path)
        facts = read_facts(file)
        gpu_layers = _gpu_layers(options.gpu_layers, on_event)
        formats = choose_kv_formats(
            options.key_format, options.value_format, facts, on_gpu=gpu_layers != 0
        )
        context_tokens = _context_tokens(options.context, facts, on_event)
        default_sampling = recommended_sampling(path, file.metadata)
        library = load_library()
        with ExitStack() as undo:
            templates = _template_helper(file, undo)
            params = llama.llama_model_default_params()
            params.n_gpu_layers = gpu_layers
            params.use_extra_bufts = not self._warn_of_amx(on_event)
            loading = _Loading(library, path, params, on_event, cancel or CancelToken())
            handle = loading.load()
            undo.callback(llama.llama_model_free, handle)
            vocabulary = Vocabulary(handle, file)
            mark = library.mark()
            context = _make_context(library, handle, options, formats, context_tokens)
            undo.pop_all()
        kv_cache_bytes, compute_bytes = logged_bytes(library.lines_since(mark))
        loaded = Loaded(
            context_tokens=context_tokens,
            chat_template=_chat_template(file),
            default_sampling=default_sampling,
            weights_bytes=llama.llama_model_size(handle),
            kv_cache_bytes=kv_cache_bytes,
            compute_bytes=compute_bytes,
            load_s=perf_counter() - started,
        )
        return LlamaCppModel(library, handle, context, vocabulary, templates, loaded)

    def _warn_of_amx(self, on_event: EventSink) -> bool:
        fallback = amx_fallback(self._cache_dir)
        if fallback is not None:
            on_event(EngineFallback(fallback))
        return fallback is not None


class _Loading:
    """One call of llama_model_load_from_file, with progress and a way out."""

    def __init__(
        self,
        library: Library,
        path: Path,
        params: llama.llama_model_params,
        on_event: EventSink,
        cancel: CancelToken,
    ) -> None:
        self._library = library
        self._path = path
        self._params = params
        self._on_event = on_event
        self._cancel = cancel
        self._error: BaseException | None = None
        self._callback = llama.llama_progress_callback(self._progress)
        self._params.progress_callback = self._callback

    def load(self) -> llama.llama_model_p:
        """Raises Cancelled, RuntimeFailure, or whatever the event sink raised."""
        with self._library.failures(f"cannot load {self._path}"):
            handle = llama.llama_model_load_from_file(os.fsencode(self._path), self._params)
            if handle is not None and (self._error or self._cancel.cancelled):
                llama.llama_model_free(handle)
            if self._error is not None:
                raise self._error
            if self._cancel.cancelled:
                raise Cancelled(f"loading {self._path} was cancelled")
            if handle is None:
                raise StatusError("the engine refused it")
        return handle

    def _progress(self, fraction: float, _: object) -> bool:
        """Nothing may be raised through llama.cpp, so an error waits until it has returned."""
        try:
            self._on_event(LoadProgress(fraction))
        except BaseException as error:
            self._error = error
        return self._error is None and not self._cancel.cancelled


def _make_context(
    library: Library,
    model: llama.llama_model_p,
    options: LoadOptions,
    formats: KVFormats,
    context_tokens: int,
) -> Context:
    params = llama.llama_context_default_params()
    ubatch = min(options.ubatch, context_tokens)
    params.n_ctx = context_tokens
    params.n_batch = params.n_ubatch = ubatch
    # Only the last token's logits are read; room for all of a ubatch's would be its largest buffer.
    params.n_outputs_max = 1
    params.n_threads = params.n_threads_batch = options.threads or physical_cores()
    params.type_k, params.type_v = formats.key.ggml_type, formats.value.ggml_type
    params.flash_attn_type = (
        llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
        if formats.value.needs_flash_attention_for_v
        else llama.LLAMA_FLASH_ATTN_TYPE_AUTO
    )
    with library.failures(f"cannot make a context of {context_tokens} tokens"):
        handle = llama.llama_init_from_model(model, params)
        if handle is None:
            raise StatusError("the engine refused it")
    return Context(handle, ubatch)


def physical_cores() -> int:
    """Cores this process may run on, each counted once: a second thread per core adds nothing."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, allowed))


def _gpu_layers(asked: int, on_event: EventSink) -> int:
    if asked and not llama.llama_supports_gpu_offload():
        on_event(EngineFallback("this build of llama.cpp has no GPU support; all layers run here"))
        return 0
    return asked


def _context_tokens(asked: int | None, facts: ModelFacts, on_event: EventSink) -> int:
    trained = facts.trained_context
    if asked is not None and asked > trained:
        on_event(
            EngineFallback(f"context is {trained} tokens, not {asked}: the model knows no more")
        )
    return trained if asked is None else min(asked, trained)


def _template_helper(file: GGUFFile, undo: ExitStack) -> TemplateHelper | None:
    """Started before the model loads, so that it is ready when the first prompt comes."""
    return None if _chat_template(file) is None else undo.enter_context(TemplateHelper())


def _chat_template(file: GGUFFile) -> str | None:
    template = file.metadata.get("tokenizer.chat_template")
    return template if isinstance(template, str) else None
