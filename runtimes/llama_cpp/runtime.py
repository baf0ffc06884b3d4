"""The llama.cpp engine: loads GGUF files, to answer or to be judged."""

import re
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TextIO

from edgellm.gguf_file import GGUFFile, read_gguf
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.amx import amx_fallback
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.fingerprint import ModelFile, Origin
from edgellm.runtimes.llama_cpp.library import ENGINE, load_library
from edgellm.runtimes.llama_cpp.loader import Loader
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.scoring import LlamaCppScorer, open_scorer
from edgellm.runtimes.llama_cpp.settings import (
    Settings,
    settle,
    takes_extra_buffers,
    threads_for,
)
from edgellm.runtimes.options import LoadOptions, ScoringOptions
from edgellm.runtimes.protocol import EventSink, ignore_events, nothing_to_prepare

if TYPE_CHECKING:
    from edgellm.runtimes.llama_cpp.speculation.findings import Guessing


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
        from importlib.metadata import version

        return f"llama-cpp-python {version('llama-cpp-python')}, {self._uses()}"

    def load(
        self,
        path: Path,
        options: LoadOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
        on_template: Callable[[], None] = nothing_to_prepare,
    ) -> LlamaCppModel:
        """Check the file, then load it; see edgellm.runtimes.protocol.Runtime.load."""
        started = perf_counter()
        file = read_gguf(path)
        settings = settle(file, options, self._cache_dir, on_event)
        if settings.chat_template is not None:
            on_template()
        guessing = self._guessing(options, file, settings)
        origin = Origin(ModelFile.of(path), settings.cache_setup(file), self._cache_dir)
        library = load_library()
        if self._log is not None:
            library.copy_to(self._log)
        loader = Loader(library, file, settings, guessing, on_event, cancel or CancelToken())
        return loader.load(origin, self._uses(), started)

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
            threads=options.threads or threads_for(file),
            extra_buffers=takes_extra_buffers(self._cache_dir, on_event),
            on_event=on_event,
            cancel=cancel or CancelToken(),
        )

    def _uses(self) -> str:
        """What the build uses here, and what it has to leave off."""
        found = re.findall(
            r"(\w+) = 1\b", llama.llama_print_system_info().decode("ascii", "replace")
        )
        uses = f"CPU with {', '.join(found)}"
        if llama.llama_supports_gpu_offload():
            uses += "; GPU layers possible"
        fallback = amx_fallback(self._cache_dir)
        return uses if fallback is None else f"{uses}; {fallback}"

    def _guessing(
        self, options: LoadOptions, file: GGUFFile, settings: Settings
    ) -> "Guessing | None":
        """What speculation depends on, where it is wanted. Raises InputError, UsageError."""
        if options.speculate is None:
            return None
        from edgellm.runtimes.llama_cpp.speculation.findings import Draft, Guessing
        from edgellm.runtimes.llama_cpp.speculation.loading import read_draft
        from edgellm.runtimes.llama_cpp.speculation.memory import NGRAM

        draft = None
        if options.speculate != NGRAM:
            found = read_draft(Path(options.speculate), file)
            draft = Draft(found, options.threads or threads_for(found))
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
