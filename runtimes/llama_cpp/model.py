"""A model that llama.cpp has loaded: prompts in, events out."""

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from time import perf_counter

import psutil

from edgellm.closing import Closing
from edgellm.errors import InputError, UsageError
from edgellm.events import Event
from edgellm.runtimes.chat_template import TemplateHelper
from edgellm.runtimes.llama_cpp.answer import Answer
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import Library
from edgellm.runtimes.llama_cpp.sampling import sampler_chain
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.protocol import CancelToken, MemoryUse, Message, Prompt, SamplingOptions


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is known about a model once it is in memory."""

    context_tokens: int
    chat_template: str | None
    default_sampling: SamplingOptions
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    load_s: float


class LlamaCppModel(Closing):
    """Owns a model, its context and the chat-template helper; one answer at a time."""

    def __init__(
        self,
        library: Library,
        handle: llama.llama_model_p,
        context: Context,
        vocabulary: Vocabulary,
        templates: TemplateHelper | None,
        loaded: Loaded,
    ) -> None:
        self._library = library
        self._handle: llama.llama_model_p | None = handle
        self._context = context
        self._vocabulary = vocabulary
        self._templates = templates
        self._loaded = loaded
        self._answering = threading.Lock()

    @property
    def context(self) -> int:
        return self._loaded.context_tokens

    @property
    def chat_template(self) -> str | None:
        return self._loaded.chat_template

    @property
    def default_sampling(self) -> SamplingOptions:
        return self._loaded.default_sampling

    def generate(
        self,
        prompt: Prompt,
        sampling: SamplingOptions | None = None,
        cancel: CancelToken | None = None,
    ) -> Generator[Event, None, None]:
        """Answer plain text as it is, or a conversation through the chat template.

        Raises InputError for a prompt that is empty, does not fit the context or that the
        template refuses, RuntimeFailure when the engine fails.
        """
        if not self._answering.acquire(blocking=False):
            raise UsageError("this model is already answering; finish or close that answer first")
        try:
            yield from self._answer(
                prompt, sampling or self.default_sampling, cancel or CancelToken()
            )
        finally:
            self._answering.release()

    def memory(self) -> MemoryUse:
        return MemoryUse(
            weights_bytes=self._loaded.weights_bytes,
            kv_cache_bytes=self._loaded.kv_cache_bytes,
            compute_bytes=self._loaded.compute_bytes,
            resident_bytes=psutil.Process().memory_info().rss,
        )

    def close(self) -> None:
        """Give the memory back; an answer that is still running ends with RuntimeFailure."""
        self._context.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            llama.llama_model_free(handle)
        if self._templates is not None:
            self._templates.close()

    def _answer(
        self, prompt: Prompt, sampling: SamplingOptions, cancel: CancelToken
    ) -> Generator[Event, None, None]:
        started = perf_counter()
        tokens = self._prompt_tokens(prompt)
        with (
            self._library.failures("generating"),
            sampler_chain(sampling, self._vocabulary.n_tokens, tokens) as chain,
            self._context.heeding(cancel),
        ):
            answer = Answer(
                self._context,
                self._vocabulary,
                chain,
                tokens,
                context_tokens=self.context,
                max_tokens=sampling.max_tokens,
                stop=sampling.stop,
                cancel=cancel,
                started=started,
            )
            yield from answer.events(self._loaded.load_s)

    def _prompt_tokens(self, prompt: Prompt) -> list[int]:
        self._context.check_open()
        tokens = self._vocabulary.prompt_tokens(self._text(prompt))
        if not tokens:
            raise InputError("the prompt is empty; there is nothing to continue")
        if len(tokens) > self.context:
            raise InputError(
                f"the prompt has {len(tokens)} tokens, the context holds {self.context}; "
                f"shorten it or load with a larger context"
            )
        return tokens

    def _text(self, prompt: Prompt) -> str:
        if not isinstance(prompt, str):
            return self._render(prompt)
        if self._templates is not None:
            # It would wait, and take its memory, for as long as plain text is answered.
            self._templates.close()
        return prompt

    def _render(self, messages: Sequence[Message]) -> str:
        if self._loaded.chat_template is None or self._templates is None:
            raise InputError("the model has no chat template; give it plain text to continue")
        return self._templates.render(
            self._loaded.chat_template,
            messages,
            bos_token=self._vocabulary.text(self._vocabulary.bos),
            eos_token=self._vocabulary.text(self._vocabulary.eos),
        )
