"""One answer: prefill in ubatches, then token by token until something ends it."""

from collections.abc import Generator
from time import perf_counter

from edgellm.events import ContextFull, Done, Event, PrefillProgress, TextDelta, Timings, Usage
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.text_stream import TextStream


class Answer:
    """The state of one answer; the clock runs only while the engine works, not the caller."""

    def __init__(
        self,
        context: Context,
        vocabulary: Vocabulary,
        chain: int,
        prompt: list[int],
        *,
        context_tokens: int,
        max_tokens: int | None,
        stop: tuple[str, ...],
        cancel: CancelToken,
        started: float,
    ) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._chain = chain
        self._prompt = prompt
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._cancel = cancel
        self._started = started
        self._text = TextStream(stop)
        self._shown: list[str] = []
        self._used = 0  # tokens in the KV cache
        self._generated = 0
        self._pending: int | None = None  # sampled, not yet in the KV cache
        self._drop_space = vocabulary.begins_text(prompt[-1])
        self._prefill_s = self._decode_s = self._first_token_s = 0.0

    def events(self, load_s: float) -> Generator[Event, None, None]:
        """Prefill progress, text, ContextFull where that is the end, and Done."""
        self._context.clear()
        reason = yield from self._prefill()
        while not reason:
            began = perf_counter()
            delta, reason = self._step()
            self._decode_s += perf_counter() - began
            if delta:
                self._shown.append(delta)
                yield TextDelta(delta)
        if held := "" if self._text.stopped else self._text.flush():
            self._shown.append(held)
            yield TextDelta(held)
        if reason == "context_full":
            yield ContextFull(used=self._used, limit=self._context_tokens)
        yield self._done(reason, load_s)

    def _prefill(self) -> Generator[Event, None, str]:
        """Returns why it ended early, or an empty text."""
        total = len(self._prompt)
        yield PrefillProgress(cached=0, processed=0, total=total)
        while self._used < total:
            began = perf_counter()
            tokens = self._prompt[self._used : self._used + self._context.ubatch]
            if self._cancel.cancelled or not self._context.decode(tokens):
                return "cancelled"
            self._used += len(tokens)
            self._prefill_s += perf_counter() - began
            yield PrefillProgress(cached=0, processed=self._used, total=total)
        return ""

    def _step(self) -> tuple[str, str]:
        """(new text, why it ended or an empty text) of one more token."""
        if self._cancel.cancelled:
            return "", "cancelled"
        if self._pending is not None:
            if self._used == self._context_tokens:
                return "", "context_full"
            if not self._context.decode_one(self._pending):
                return "", "cancelled"
            self._used += 1
        token = self._context.sample(self._chain)
        if not self._generated:
            self._first_token_s = perf_counter() - self._started
        if self._vocabulary.is_end(token):
            return "", "end"
        self._pending = token
        self._generated += 1
        delta = self._text.feed(self._piece(token))
        if self._text.stopped:
            return delta, "stop"
        return delta, "length" if self._generated == self._max_tokens else ""

    def _piece(self, token: int) -> bytes:
        piece = self._vocabulary.piece(token)
        if self._drop_space and piece:
            self._drop_space = False
            return piece.removeprefix(b" ")
        return piece

    def _done(self, reason: str, load_s: float) -> Done:
        return Done(
            usage=Usage(len(self._prompt), self._generated),
            timings=Timings(load_s, self._prefill_s, self._decode_s, self._first_token_s),
            stop_reason=reason,
            text="".join(self._shown),
        )
