"""The llama.cpp engine: decides how a GGUF file is to be loaded, and loads it."""

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TextIO

import psutil

from edgellm.events import EngineFallback
from edgellm.gguf_file import GGUFFile, read_gguf
from edgellm.plan import DEFAULT_CONTEXT
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.amx import amx_fallback
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.embedding import Embedder, EmbeddingSettings, pooling_of
from edgellm.runtimes.llama_cpp.fingerprint import CacheSetup, ModelFile, Origin, rope_context
from edgellm.runtimes.llama_cpp.library import ENGINE, load_library
from edgellm.runtimes.llama_cpp.loading import load_weights, make_context
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes, logged_bytes
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.notices import fallback_reasons
from edgellm.runtimes.llama_cpp.preconditions import (
    KVFormats,
    ModelFacts,
    check_tensors,
    choose_kv_formats,
    read_facts,
)
from edgellm.runtimes.llama_cpp.sampling import recommended_sampling
from edgellm.runtimes.llama_cpp.scoring import LlamaCppScorer, open_scorer
from edgellm.runtimes.llama_cpp.sequences import MemoryKind
from edgellm.runtimes.llama_cpp.speculation.findings import Draft, Guessing
from edgellm.runtimes.llama_cpp.speculation.loading import (
    can_speculate,
    open_speculation,
    read_draft,
)
from edgellm.runtimes.llama_cpp.speculation.memory import LOGITS_ROWS, NGRAM
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.options import LoadOptions, SamplingOptions, ScoringOptions
from edgellm.runtimes.protocol import EventSink, ModelInfo, Settled, ignore_events
from edgellm.tokenizer.text_rules import TextRules

BYTES_PER_THREAD = 32 << 20  # weights


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a load will do, decided before anything slow begins."""

    context_tokens: int
    key_head_dim: int
    formats: KVFormats
    gpu_layers: int
    extra_buffers: bool
    threads: int
    sampling: SamplingOptions
    chat_template: str | None

    def turning_bytes(self, model: llama.llama_model_p) -> int:
        """Scratch that moving tokens in the cache takes: two float32 copies of a layer's keys.

        Only keys that are not quantized are turned in place.
        """
        if self.formats.key.block == 1:
            return 0
        heads: int = llama.llama_model_n_head_kv(model)
        return 2 * 4 * self.context_tokens * heads * self.key_head_dim


class LlamaCppRuntime:
    """Loads GGUF files."""

    name = ENGINE

    def __init__(self, cache_dir: Path | None = None, log: TextIO | None = None) -> None:
        """cache_dir: where findings about this machine are kept; None keeps none.

        log: gets every line that llama.cpp logs.
        """
        self._cache_dir = cache_dir
        self._log = log

    def describe(self) -> str:
        """See edgellm.runtimes.protocol.Runtime.describe."""
        found = re.findall(
            r"(\w+) = 1\b", llama.llama_print_system_info().decode("ascii", "replace")
        )
        uses = f"CPU with {', '.join(found)}"
        if llama.llama_supports_gpu_offload():
            uses += "; GPU layers possible"
        line = f"llama-cpp-python {version('llama-cpp-python')}, {uses}"
        fallback = amx_fallback(self._cache_dir)
        return line if fallback is None else f"{line}; {fallback}"

    def load(
        self,
        path: Path,
        options: LoadOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> LlamaCppModel:
        """Check the file, then load it; see edgellm.runtimes.protocol.Runtime.load."""
        started = perf_counter()
        cancel = cancel or CancelToken()
        file = read_gguf(path)
        settings = self._settle(file, options, on_event)
        guessing = self._guessing(options, file, settings)
        origin = Origin(ModelFile.of(path), _setup(file, settings), self._cache_dir)
        rules = TextRules.from_metadata(file.metadata, str(path))
        library = load_library()
        if self._log is not None:
            library.copy_to(self._log)
        mark = library.mark()
        with ExitStack() as undo:
            model = load_weights(
                library,
                path,
                gpu_layers=settings.gpu_layers,
                extra_buffers=settings.extra_buffers,
                adds_space_prefix=rules is None,
                weights=options.weights,
                on_event=on_event,
                cancel=cancel,
            )
            undo.callback(llama.llama_model_free, model)
            vocabulary = Vocabulary(model, file, rules)
            kind = memory_kind(model)
            speculates = guessing is not None and can_speculate(kind, guessing, on_event)
            context = make_context(
                library,
                model,
                settings.formats,
                context_tokens=settings.context_tokens,
                ubatch=options.ubatch,
                threads=settings.threads,
                logits_rows=LOGITS_ROWS if speculates else 1,
            )
            undo.callback(context.close)
            lines = library.lines_since(mark)
            for reason in fallback_reasons(lines, settings.gpu_layers):
                on_event(EngineFallback(reason))
            speculation = None
            if guessing is not None and speculates:
                speculation = open_speculation(
                    library, context, vocabulary.n_tokens, guessing, on_event, cancel
                )
            undo.pop_all()
        buffers = BufferBytes(llama.llama_model_size(model), *logged_bytes(lines))
        can_shift = (
            kind.branches
            and context.can_shift
            and settings.turning_bytes(model) <= buffers.compute_bytes
        )
        info = ModelInfo(
            context=settings.context_tokens,
            chat_template=settings.chat_template,
            bos=vocabulary.text(vocabulary.bos),
            eos=vocabulary.text(vocabulary.eos),
            default_sampling=settings.sampling,
            can_shift=can_shift,
            load_s=perf_counter() - started,
            settled=Settled(
                engine=self.describe(),
                threads=settings.threads,
                ubatch=context.ubatch,
                key_format=settings.formats.key.name,
                value_format=settings.formats.value.name,
                gpu_layers=settings.gpu_layers,
            ),
        )
        embedder = Embedder(library, model, vocabulary, _embedding(file, settings, options))
        return LlamaCppModel(
            library,
            model,
            context,
            kind,
            vocabulary,
            info,
            buffers,
            origin,
            embedder,
            speculation,
        )

    def open_scorer(
        self,
        path: Path,
        options: ScoringOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> LlamaCppScorer:
        """See edgellm.runtimes.protocol.Runtime.open_scorer."""
        file = read_gguf(path)
        return open_scorer(
            file,
            options,
            threads=options.threads or _useful_threads(file),
            extra_buffers=self._extra_buffers(on_event),
            on_event=on_event,
            cancel=cancel or CancelToken(),
        )

    def _settle(self, file: GGUFFile, options: LoadOptions, on_event: EventSink) -> _Settings:
        facts = read_facts(file)
        check_tensors(file)
        gpu_layers = _gpu_layers(options.gpu_layers, on_event)
        formats = choose_kv_formats(
            options.key_format, options.value_format, facts, on_gpu=gpu_layers != 0
        )
        template = file.metadata.get("tokenizer.chat_template")
        return _Settings(
            context_tokens=_context_tokens(options.context, facts, on_event),
            key_head_dim=facts.key_head_dim,
            formats=formats,
            gpu_layers=gpu_layers,
            extra_buffers=self._extra_buffers(on_event),
            threads=options.threads or _useful_threads(file),
            sampling=recommended_sampling(file.path, file.metadata),
            chat_template=template if isinstance(template, str) else None,
        )

    def _guessing(
        self, options: LoadOptions, file: GGUFFile, settings: _Settings
    ) -> Guessing | None:
        """What speculation depends on, where it is wanted. Raises InputError, UsageError."""
        if options.speculate is None:
            return None
        draft = None
        if options.speculate != NGRAM:
            found = read_draft(Path(options.speculate), file)
            draft = Draft(found, options.threads or _useful_threads(found))
        return Guessing(
            file,
            settings.formats,
            context_tokens=settings.context_tokens,
            ubatch=options.ubatch,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
            extra_buffers=settings.extra_buffers,
            weights=options.weights,
            draft=draft,
            cache_dir=self._cache_dir,
        )

    def _extra_buffers(self, on_event: EventSink) -> bool:
        if (fallback := amx_fallback(self._cache_dir)) is None:
            return True
        on_event(EngineFallback(fallback))
        return False


def memory_kind(model: llama.llama_model_p) -> MemoryKind:
    """How far back the memory of a loaded model can go."""
    recurrent = llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model)
    return MemoryKind(recurrent, llama.llama_model_n_swa(model))


def _setup(file: GGUFFile, settings: _Settings) -> CacheSetup:
    formats = settings.formats
    return CacheSetup(
        key_format=formats.key.name,
        value_format=formats.value.name,
        flash_attention="always" if formats.value.needs_flash_attention_for_v else "where it can",
        gpu_layers=settings.gpu_layers,
        extra_buffers=settings.extra_buffers,
        rope_context=rope_context(file, settings.context_tokens),
    )


def _embedding(file: GGUFFile, settings: _Settings, options: LoadOptions) -> EmbeddingSettings:
    return EmbeddingSettings(
        pooling=pooling_of(file),
        context=settings.context_tokens,
        ubatch=options.ubatch,
        threads=settings.threads,
    )


def useful_threads(weights_bytes: int) -> int:
    """Threads that pay: in a small model they mostly wait for each other.

    Measured by `python -m benchmarks.threads`.
    """
    return max(1, min(physical_cores(), weights_bytes // BYTES_PER_THREAD))


def _useful_threads(file: GGUFFile) -> int:
    return useful_threads(sum(tensor.bytes for tensor in file.tensors))


def physical_cores() -> int:
    """Cores this process may run on, each counted once: a second thread per core adds nothing."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, allowed))


def _gpu_layers(asked: int, on_event: EventSink) -> int:
    if asked and not llama.llama_supports_gpu_offload():
        on_event(EngineFallback("this build of llama.cpp has no GPU support; all runs on the CPU"))
        return 0
    return asked


def _context_tokens(asked: int | None, facts: ModelFacts, on_event: EventSink) -> int:
    trained = facts.trained_context
    if asked is not None and asked > trained:
        on_event(
            EngineFallback(f"the context is {trained} tokens, not {asked}: all the model knows")
        )
    return min(asked or DEFAULT_CONTEXT, trained)
