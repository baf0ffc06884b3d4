"""One load: from a file that was checked, and what was settled for it, to a model in memory."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from edgellm.events import EngineFallback
from edgellm.gguf_file import GGUFFile
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.embedding import Embedder
from edgellm.runtimes.llama_cpp.fingerprint import Origin
from edgellm.runtimes.llama_cpp.library import Library
from edgellm.runtimes.llama_cpp.loading import load_weights, make_context
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes, logged_bytes
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.notices import fallback_reasons
from edgellm.runtimes.llama_cpp.sequences import MemoryKind
from edgellm.runtimes.llama_cpp.settings import Settings
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.protocol import EventSink, ModelInfo, Settled

if TYPE_CHECKING:
    from edgellm.runtimes.llama_cpp.speculation.findings import Guessing
    from edgellm.runtimes.llama_cpp.speculation.speculation import Speculation


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads one model; where a step fails, what the steps before it opened is freed."""

    library: Library
    file: GGUFFile
    settings: Settings
    guessing: "Guessing | None"  # None guesses no tokens
    on_event: EventSink
    cancel: CancelToken

    def load(self, origin: Origin, engine: str, started: float) -> LlamaCppModel:
        """engine: what the build uses here. started: when the load began, by perf_counter().

        Raises Cancelled, RuntimeFailure, and what opening a draft model raises.
        """
        mark = self.library.mark()
        with ExitStack() as undo:
            handle = self._weights()
            undo.callback(llama.llama_model_free, handle)
            vocabulary = Vocabulary(handle, self.file, self.settings.rules)
            kind = MemoryKind.of(handle)
            logits_rows = self._logits_rows(kind)
            context = self._context(handle, logits_rows)
            undo.callback(context.close)
            lines = self.library.lines_since(mark)
            self._tell(lines)
            speculation = self._speculation(context, vocabulary) if logits_rows > 1 else None
            undo.pop_all()
        buffers = BufferBytes(llama.llama_model_size(handle), *logged_bytes(lines))
        scratch_suffices = self.settings.turning_bytes(handle) <= buffers.compute_bytes
        can_shift = kind.branches and context.can_shift and scratch_suffices
        return LlamaCppModel(
            self.library,
            handle,
            context,
            kind,
            vocabulary,
            self._info(vocabulary, context, can_shift, engine, started),
            buffers,
            origin,
            Embedder(self.library, handle, vocabulary, self.settings.embedding(self.file)),
            speculation,
        )

    def _weights(self) -> llama.llama_model_p:
        return load_weights(
            self.library,
            self.file.path,
            gpu_layers=self.settings.gpu_layers,
            extra_buffers=self.settings.extra_buffers,
            adds_space_prefix=self.settings.rules is None,
            weights=self.settings.weights,
            on_event=self.on_event,
            cancel=self.cancel,
        )

    def _context(self, handle: llama.llama_model_p, logits_rows: int) -> Context:
        return make_context(
            self.library,
            handle,
            self.settings.formats,
            context_tokens=self.settings.context_tokens,
            ubatch=self.settings.ubatch,
            threads=self.settings.threads,
            logits_rows=logits_rows,
        )

    def _tell(self, lines: Sequence[str]) -> None:
        for reason in fallback_reasons(lines, self.settings.gpu_layers):
            self.on_event(EngineFallback(reason))

    def _logits_rows(self, kind: MemoryKind) -> int:
        """Tokens of a ubatch whose logits are read; more than one where tokens are guessed."""
        if self.guessing is None:
            return 1
        from edgellm.runtimes.llama_cpp.speculation.loading import can_speculate
        from edgellm.runtimes.llama_cpp.speculation.memory import LOGITS_ROWS

        return LOGITS_ROWS if can_speculate(kind, self.guessing, self.on_event) else 1

    def _speculation(self, context: Context, vocabulary: Vocabulary) -> "Speculation":
        from edgellm.runtimes.llama_cpp.speculation.loading import open_speculation

        assert self.guessing is not None, "only a model that guesses reads several rows"
        return open_speculation(
            self.library,
            context,
            vocabulary.n_tokens,
            self.guessing,
            self.on_event,
            self.cancel,
        )

    def _info(
        self,
        vocabulary: Vocabulary,
        context: Context,
        can_shift: bool,
        engine: str,
        started: float,
    ) -> ModelInfo:
        settings = self.settings
        return ModelInfo(
            context=settings.context_tokens,
            chat_template=settings.chat_template,
            bos=vocabulary.text(vocabulary.bos),
            eos=vocabulary.text(vocabulary.eos),
            default_sampling=settings.sampling,
            can_shift=can_shift,
            load_s=perf_counter() - started,
            settled=Settled(
                engine=engine,
                threads=settings.threads,
                ubatch=context.ubatch,
                key_format=settings.formats.key.name,
                value_format=settings.formats.value.name,
                gpu_layers=settings.gpu_layers,
            ),
        )
