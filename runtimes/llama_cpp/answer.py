"""One answer: prefill in ubatches, then token by token until something ends it."""

from collections.abc import Generator, Mapping
from time import perf_counter

from edgellm.events import ContextFull, Done, Event, PrefillProgress, TextDelta, Timings, Usage
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.decoding import Decoder
from edgellm.runtimes.llama_cpp.sequences import CachedSequence
from edgellm.runtimes.options import SamplingOptions
from edgellm.runtimes.text_stream import TextStream


class Answer:
    """The state of one answer; the clock runs only while the engine works, not the caller."""

    def __init__(
        self,
        sequence: CachedSequence,
        decoder: Decoder,
        pieces: Mapping[int, bytes | None],
        prompt: list[int],
        *,
        ubatch: int,
        context_tokens: int,
        sampling: SamplingOptions,
        drop_space: bool,
        cancel: CancelToken,
        started: float,
    ) -> None:
        """pieces: the bytes of each token as they are shown; None for those that end an answer.

        drop_space: whether a space in front of the answer is the vocabulary's own.
        """
        self._sequence = sequence
        self._decoder = decoder
        self._pieces = pieces
        self._prompt = prompt
        self._ubatch = ubatch
        self._context_tokens = context_tokens
        self._max_tokens = sampling.max_tokens
        self._drop_space = drop_space
        self._cancel = cancel
        self._started = started
        self._text = TextStream(sampling.stop)
        self._shown: list[str] = []
        self._cached = len(sequence.tokens)
        self._generated: list[int] = []
        self._prefill_s = self._decode_s = self._first_token_s = 0.0

    def events(self, load_s: float) -> Generator[Event, None, None]:
        """Prefill progress, text, ContextFull where that is the end, and Done."""
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
            yield ContextFull(used=len(self._sequence.tokens), limit=self._context_tokens)
        yield self._done(reason, load_s)

    def _prefill(self) -> Generator[Event, None, str]:
        """Returns why it ended early, or an empty text."""
        held, total = self._sequence.tokens, len(self._prompt)
        yield PrefillProgress(self._cached, len(held), total)
        while len(held) < total:
            began = perf_counter()
            tokens = self._prompt[len(held) : len(held) + self._ubatch]
            if self._cancel.cancelled or not self._sequence.append(tokens):
                return "cancelled"
            self._prefill_s += perf_counter() - began
            yield PrefillProgress(self._cached, len(held), total)
        return ""

    def _step(self) -> tuple[str, str]:
        """(new text, why it ended or an empty text) of the next tokens."""
        if self._cancel.cancelled:
            return "", "cancelled"
        if self._generated and len(self._sequence.tokens) == self._context_tokens:
            return "", "context_full"
        tokens = self._decoder.next()
        if not tokens:
            return "", "cancelled"
        if not self._generated:
            self._first_token_s = perf_counter() - self._started
        delta = reason = ""
        for token in tokens:
            text, reason = self._take(token)
            delta += text
            if reason:
                self._forget_the_rest()
                break
        return delta, reason

    def _take(self, token: int) -> tuple[str, str]:
        """(new text, why it ended or an empty text) of one token."""
        piece = self._pieces[token]
        if piece is None:
            return "", "end"
        self._generated.append(token)
        if self._drop_space and piece:
            self._drop_space = False
            piece = piece.removeprefix(b" ")
        delta = self._text.feed(piece)
        if self._text.stopped:
            return delta, "stop"
        return delta, "length" if len(self._generated) == self._max_tokens else ""

    def _forget_the_rest(self) -> None:
        """The decoder may have gone beyond the answer's end."""
        length = len(self._prompt) + len(self._generated)
        if len(self._sequence.tokens) > length:
            self._sequence.cut(length)

    def _done(self, reason: str, load_s: float) -> Done:
        return Done(
            usage=Usage(len(self._prompt), len(self._generated), self._cached),
            timings=Timings(load_s, self._prefill_s, self._decode_s, self._first_token_s),
            stop_reason=reason,
            text="".join(self._shown),
        )
