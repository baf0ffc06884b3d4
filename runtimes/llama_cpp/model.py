"""A model that llama.cpp has loaded: prompts in, events out."""

import threading
from collections.abc import Generator
from dataclasses import dataclass
from time import perf_counter

import psutil

from edgellm.closing import Closing
from edgellm.errors import InputError, UsageError
from edgellm.events import Event, MemoryUse
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.answer import Answer
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.decoding import PlainDecoder
from edgellm.runtimes.llama_cpp.library import Library
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.llama_cpp.sequences import MemoryKind, Sequences
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.protocol import ModelInfo, Request


@dataclass(frozen=True, slots=True)
class BufferBytes:
    """What llama.cpp says it has allocated."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int


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
    ) -> None:
        self._library = library
        self._handle: llama.llama_model_p | None = handle
        self._context = context
        self._sequences = Sequences(context, kind)
        self._vocabulary = vocabulary
        self._info = info
        self._buffers = buffers
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
        if not self._answering.acquire(blocking=False):
            raise UsageError("this model is already answering; finish or close that answer first")
        try:
            yield from self._answer(request, cancel or CancelToken())
        finally:
            self._answering.release()

    def memory(self) -> MemoryUse:
        return MemoryUse(
            weights_bytes=self._buffers.weights_bytes,
            kv_cache_bytes=self._buffers.kv_cache_bytes,
            compute_bytes=self._buffers.compute_bytes,
            resident_bytes=psutil.Process().memory_info().rss,
        )

    def close(self) -> None:
        """Give the memory back; an answer that is still running ends with RuntimeFailure."""
        self._context.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            llama.llama_model_free(handle)

    def _answer(self, request: Request, cancel: CancelToken) -> Generator[Event, None, None]:
        started = perf_counter()
        tokens = self._prompt_tokens(request.prompt)
        sampling = request.sampling
        with (
            self._library.failures("generating"),
            Sampler(sampling, self._vocabulary.n_tokens, tokens) as sampler,
            self._context.heeding(cancel),
        ):
            sequence = self._sequences.begin(tokens)
            answer = Answer(
                sequence,
                PlainDecoder(self._context, sequence, sampler),
                self._vocabulary.pieces(request.shown),
                tokens,
                ubatch=self._context.ubatch,
                context_tokens=self.info.context,
                sampling=sampling,
                drop_space=self._vocabulary.begins_text(tokens[-1]),
                cancel=cancel,
                started=started,
            )
            yield from answer.events(self.info.load_s)

    def _prompt_tokens(self, text: str) -> list[int]:
        tokens = self.tokenize(text)
        if not tokens:
            raise InputError("the prompt is empty; there is nothing to continue")
        if len(tokens) > self.info.context:
            raise InputError(
                f"the prompt has {len(tokens)} tokens, the context holds {self.info.context}; "
                f"shorten it or load with a larger context"
            )
        return tokens
