"""One answer: prefill in ubatches, then token by token until something ends it."""

from collections.abc import Callable, Generator, Mapping
from time import perf_counter

from edgellm.events import (
    ContextFull,
    ContextTrimmed,
    Done,
    Event,
    PrefillProgress,
    TextDelta,
    Timings,
    TokenLikelihoods,
    Usage,
)
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.decoding import Decoder
from edgellm.runtimes.llama_cpp.likelihoods import Likelihoods
from edgellm.runtimes.llama_cpp.sequences import Sequences
from edgellm.runtimes.llama_cpp.transcript import Part, all_tokens, generated_part
from edgellm.runtimes.options import SamplingOptions
from edgellm.runtimes.text_stream import TextStream

Parts = tuple[Part, ...]


class Answer:
    """The state of one answer; the clock runs only while the engine works, not the caller."""

    def __init__(
        self,
        sequences: Sequences,
        decoder: Decoder,
        pieces: Mapping[int, bytes | None],
        prompt: Parts,
        *,
        shorter: Callable[[int], Parts | None],
        context_tokens: int,
        sampling: SamplingOptions,
        likelihoods: Likelihoods | None,
        drop_space: bool,
        cancel: CancelToken,
        started: float,
    ) -> None:
        """prompt: what the current sequence has begun with.

        pieces: the bytes of each token as they are shown; None for those that end an answer.
        shorter: a prompt of so many tokens at most that lacks the oldest turns; None for none.
        likelihoods: reads how likely the tokens were; None where nobody asked.
        drop_space: whether a space in front of the answer is the vocabulary's own.
        """
        self._sequences = sequences
        self._sequence = sequences.current
        self._decoder = decoder
        self._pieces = pieces
        self._prompt = all_tokens(prompt)
        self._shorter = shorter
        self._context_tokens = context_tokens
        self._max_tokens = sampling.max_tokens
        self._ignore_end = sampling.ignore_end
        self._likelihoods = likelihoods
        self._likely: list[TokenLikelihoods] = []  # of the tokens since the last delta
        self._drops_space = self._drop_space = drop_space
        self._cancel = cancel
        self._started = started
        self._text = TextStream(sampling.stop)
        self._shown: list[str] = []
        self._prompt_tokens = len(self._prompt)
        self._cached = len(self._sequence.tokens)
        self._generated: list[int] = []
        self._prefill_s = self._decode_s = self._first_token_s = 0.0
        self._sequence.parts = prompt

    def events(self, load_s: float) -> Generator[Event, None, None]:
        """Prefill progress, text, ContextFull where that is the end, and Done."""
        try:
            reason = yield from self._read(self._prompt)
            while not reason:
                if self._generated and len(self._sequence.tokens) == self._context_tokens:
                    reason = yield from self._make_room()
                    continue
                began = perf_counter()
                delta, reason = self._step()
                self._decode_s += perf_counter() - began
                if delta:
                    yield self._delta(delta)
        finally:
            self._remember()
        held = "" if self._text.stopped else self._text.flush()
        if held or self._likely:
            yield self._delta(held)
        if reason == "context_full":
            yield ContextFull(used=len(self._sequence.tokens), limit=self._context_tokens)
        yield self._done(reason, load_s)

    def _read(self, tokens: list[int]) -> Generator[Event, None, str]:
        """Compute what the sequence lacks of them.

        Returns why that ended early, or an empty text.
        """
        cached, total = len(self._sequence.tokens), len(tokens)
        yield PrefillProgress(cached, cached, total)
        while (done := len(self._sequence.tokens)) < total:
            began = perf_counter()
            batch = tokens[done : done + self._sequence.ubatch]
            if self._cancel.cancelled or not self._sequence.append(batch):
                return "cancelled"
            self._prefill_s += perf_counter() - began
            yield PrefillProgress(cached, done + len(batch), total)
        return ""

    def _delta(self, text: str) -> TextDelta:
        self._shown.append(text)
        likely, self._likely = tuple(self._likely), []
        return TextDelta(text, likely)

    def _make_room(self) -> Generator[Event, None, str]:
        """Let the oldest turns go and keep what was generated, of which the cache lacks one token.

        Returns why the answer ends here, or an empty text.
        """
        parts = self._shorter(self._context_tokens - len(self._generated))
        if parts is None:
            return "context_full"
        prompt = all_tokens(parts)
        tokens = prompt + self._generated[:-1]
        self._sequences.begin(tokens, fresh=0, may_shift=True)
        dropped = len(self._prompt) - len(prompt)
        self._prompt, self._sequence.parts = prompt, parts
        yield ContextTrimmed(0, dropped, used=len(tokens), limit=self._context_tokens)
        if len(self._sequence.tokens) == len(tokens):
            return ""
        return (yield from self._read(tokens))

    def _step(self) -> tuple[str, str]:
        """(new text, why it ended or an empty text) of the next tokens."""
        if self._cancel.cancelled:
            return "", "cancelled"
        tokens = self._decoder.next()
        if not tokens:
            return "", "cancelled"
        if not self._generated:
            self._first_token_s = perf_counter() - self._started
        delta = reason = ""
        for index, token in enumerate(tokens):
            if self._likelihoods is not None and self._pieces[token] is not None:
                row = self._decoder.row(index)
                self._likely.append(self._likelihoods.of(token, row))
            text, reason = self._take(token)
            delta += text
            if reason:
                break
        return delta, reason

    def _take(self, token: int) -> tuple[str, str]:
        """(new text, why it ended or an empty text) of one token."""
        piece = self._pieces[token]
        if piece is None:
            if not self._ignore_end:
                return "", "end"
            piece = b""
        self._generated.append(token)
        if self._drop_space and piece:
            self._drop_space = False
            piece = piece.removeprefix(b" ")
        delta = self._text.feed(piece)
        if self._text.stopped:
            return delta, "stop"
        return delta, "length" if len(self._generated) == self._max_tokens else ""

    def _remember(self) -> None:
        """Leave the sequence as the answer was: a decoder may have gone beyond its end."""
        length = len(self._prompt) + len(self._generated)
        if len(self._sequence.tokens) > length:
            self._sequence.cut(length)
        self._sequence.settle()
        answer = generated_part(self._generated, self._pieces, drop_space=self._drops_space)
        if answer.tokens:
            self._sequence.parts += (answer,)

    def _done(self, reason: str, load_s: float) -> Done:
        return Done(
            usage=Usage(self._prompt_tokens, len(self._generated), self._cached),
            timings=Timings(load_s, self._prefill_s, self._decode_s, self._first_token_s),
            stop_reason=reason,
            text="".join(self._shown),
        )
