"""A model that llama.cpp has loaded: prompts in, events out."""

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import psutil

from edgellm.closing import Closing
from edgellm.errors import InputError, UsageError
from edgellm.events import ContextFull, ContextTrimmed, EngineFallback, Event, MemoryUse
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.answer import Answer, Parts
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.constraint import Constraint
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.conversations import Conversations
from edgellm.runtimes.llama_cpp.decoding import Decoder, PlainDecoder
from edgellm.runtimes.llama_cpp.embedding import Embedder
from edgellm.runtimes.llama_cpp.fingerprint import Origin
from edgellm.runtimes.llama_cpp.library import Library
from edgellm.runtimes.llama_cpp.likelihoods import Likelihoods
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes
from edgellm.runtimes.llama_cpp.prompts import read_prompt
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.llama_cpp.sequences import CachedSequence, MemoryKind, Sequences
from edgellm.runtimes.llama_cpp.state import SequenceMemory
from edgellm.runtimes.llama_cpp.transcript import all_tokens
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.protocol import ModelInfo, Request, nothing_to_drop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgellm.runtimes.llama_cpp.speculation.speculation import Speculation

_READS_AGAIN = (
    "this model's layers keep a state or a window, which cannot go back: it goes on from the last "
    "text only, and reads any other prompt again from its first token"
)


class LlamaCppModel(Closing):
    """Owns a model and its context; one answer at a time."""

    def __init__(
        self,
        library: Library,
        handle: llama.llama_model_p,
        context: Context,
        kind: MemoryKind,
        vocabulary: Vocabulary,
        info: ModelInfo,
        buffers: BufferBytes,
        origin: Origin,
        embedder: Embedder,
        speculation: "Speculation | None",
    ) -> None:
        self._library = library
        self._handle: llama.llama_model_p | None = handle
        self._context = context
        self._sequences = Sequences(context, kind, can_shift=info.can_shift)
        self._vocabulary = vocabulary
        self._info = info
        self._buffers = buffers
        self._conversations = Conversations(
            context, SequenceMemory(context, kind.branches), self._sequences, origin
        )
        self._embedder = embedder
        self._speculation = speculation
        self._told = False
        self._answering = threading.Lock()

    @property
    def info(self) -> ModelInfo:
        return self._info

    def tokenize(self, text: str) -> list[int]:
        """See edgellm.runtimes.protocol.LoadedModel.tokenize."""
        self._context.check_open()
        return self._vocabulary.prompt_tokens(text)

    def generate(
        self, request: Request, cancel: CancelToken | None = None
    ) -> Generator[Event, None, None]:
        """See edgellm.runtimes.protocol.LoadedModel.generate."""
        with self._alone():
            yield from self._answer(request, cancel or CancelToken())

    def embed(
        self, texts: Sequence[str], cancel: CancelToken | None = None
    ) -> "NDArray[np.float32]":
        """See edgellm.runtimes.protocol.LoadedModel.embed."""
        with self._alone():
            self._context.check_open()
            return self._embedder.embed(texts, cancel or CancelToken())

    def save_state(self, prompt: str, path: Path) -> int:
        """See edgellm.runtimes.protocol.LoadedModel.save_state."""
        with self._alone(), self._library.failures("saving the conversation"):
            self._context.check_open()
            parts = self._read(prompt, turns_missing=False)
            return self._conversations.save(all_tokens(parts), path)

    def restore_state(self, path: Path) -> int:
        """See edgellm.runtimes.protocol.LoadedModel.restore_state."""
        with self._alone(), self._library.failures("restoring the conversation"):
            self._context.check_open()
            return self._conversations.restore(path, self.info.context)

    def memory(self) -> MemoryUse:
        buffers = self._buffers
        if self._speculation is not None:
            buffers += self._speculation.buffers
        return MemoryUse(
            weights_bytes=buffers.weights_bytes,
            kv_cache_bytes=buffers.kv_cache_bytes,
            compute_bytes=buffers.compute_bytes,
            resident_bytes=psutil.Process().memory_info().rss,
        )

    def close(self) -> None:
        """Give the memory back; what is still running ends with RuntimeFailure."""
        self._embedder.close()
        if self._speculation is not None:
            self._speculation.close()
        self._context.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            llama.llama_model_free(handle)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._answering.acquire(blocking=False):
            raise UsageError("this model is already answering; finish or close that answer first")
        try:
            yield
        finally:
            self._answering.release()

    def _answer(self, request: Request, cancel: CancelToken) -> Generator[Event, None, None]:
        started = perf_counter()
        parts = yield from self._fitting_prompt(request)
        tokens, vocabulary = all_tokens(parts), self._vocabulary
        with (
            self._library.failures("generating"),
            self._constraint(request) as constraint,
            Sampler(request.sampling, vocabulary.n_tokens, tokens, constraint) as sampler,
            self._context.heeding(cancel),
            self._guessing(cancel),
        ):
            sequence = self._sequences.begin(
                tokens, may_shift=_may_lose(request), keep=request.keep
            )
            yield from self._told_once()
            answer = Answer(
                self._sequences,
                self._decoder(request, sequence, sampler),
                vocabulary.pieces(request.shown),
                parts,
                shorter=lambda most: self._shorter_prompt(request, most),
                context_tokens=self.info.context,
                sampling=request.sampling,
                likelihoods=self._likelihoods(request.logprobs),
                # A grammar's text is shown as it was read.
                drop_space=constraint is None and vocabulary.begins_text(tokens[-1]),
                cancel=cancel,
                started=started,
            )
            yield from answer.events(self.info.load_s)

    def _guessing(self, cancel: CancelToken) -> AbstractContextManager[None]:
        if self._speculation is None:
            return nullcontext()
        return self._speculation.proposer.answering(cancel)

    def _decoder(self, request: Request, sequence: CachedSequence, sampler: Sampler) -> Decoder:
        """One that guesses, where there are batches that this answer may use."""
        speculation, sampling = self._speculation, request.sampling
        exact = sampling.temperature == 0 or sampling.seed is not None
        if speculation is None or not speculation.helps(exact=exact):
            return PlainDecoder(self._context, sequence, sampler)
        from edgellm.runtimes.llama_cpp.speculation.decoder import SpeculativeDecoder

        return SpeculativeDecoder(
            self._context,
            sequence,
            sampler,
            speculation,
            self._vocabulary.pieces(request.shown),
            context_tokens=self.info.context,
            exact=exact,
        )

    def _constraint(self, request: Request) -> "Constraint | nullcontext[None]":
        if request.grammar is None:
            return nullcontext()
        return Constraint(request.grammar, self._vocabulary, self._context, request.shown)

    def _likelihoods(self, top: int | None) -> Likelihoods | None:
        return None if top is None else Likelihoods(self._context, self._vocabulary, top)

    def _fitting_prompt(self, request: Request) -> Generator[Event, None, Parts]:
        """The prompt, without its oldest turns where it would not fit. Raises InputError."""
        limit = self.info.context
        self._context.check_open()
        parts = self._read(request.prompt, turns_missing=_may_lose(request))
        needed = len(all_tokens(parts))
        if not needed:
            raise InputError("the prompt is empty; there is nothing to continue")
        if needed <= limit:
            return parts
        shorter = self._shorter_prompt(request, limit)
        if shorter is None:
            yield ContextFull(used=needed, limit=limit)
            raise InputError(
                f"the prompt has {needed} tokens, the context holds {limit}; "
                f"shorten it or load with a larger context"
            )
        used = len(all_tokens(shorter))
        yield ContextTrimmed(0, needed - used, used=used, limit=limit)
        return shorter

    def _shorter_prompt(self, request: Request, most: int) -> Parts | None:
        """The prompt without as many of its oldest turns as leave `most` tokens.

        None when there is no such prompt, or what is left does not get shorter.
        """
        last = None
        while (text := request.shorter()) not in (None, last):
            parts = self._read(text, turns_missing=True)
            if len(all_tokens(parts)) <= most:
                return parts
            last = text
        return None

    def _read(self, text: str, *, turns_missing: bool) -> Parts:
        known = self._sequences.parts()
        return read_prompt(text, self._vocabulary, known, turns_missing=turns_missing)

    def _told_once(self) -> Iterator[Event]:
        """Says once that this model had to read again what it had read."""
        if self._sequences.lost and not self._told:
            self._told = True
            yield EngineFallback(_READS_AGAIN)


def _may_lose(request: Request) -> bool:
    return request.shorter is not nothing_to_drop
