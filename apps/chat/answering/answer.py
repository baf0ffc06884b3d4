"""One answer as it comes: where it is, what it has said, how fast."""

from collections import deque
from collections.abc import Callable
from time import monotonic

from edgellm.errors import EdgeLLMError
from edgellm.events import (
    ContextFull,
    ContextTrimmed,
    Done,
    EngineFallback,
    Event,
    MemorySample,
    MemoryUse,
    PrefillProgress,
    ReasoningDelta,
    TextDelta,
)

WAITING, READING, THINKING, WRITING, ENDED = "waiting", "reading", "thinking", "writing", "ended"
RATE_WINDOW_S = 2.0


class Answer:
    """Hears the events of one answer; everything a screen shows of it is asked here.

    Hearing costs the same for every token. Times are of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.began_s = clock()
        self.phase = WAITING
        self.prefill: PrefillProgress | None = None
        self.tokens = 0  # heard so far: about as many as were written
        self.first_token_s: float | None = None  # from the request
        self.memory: MemoryUse | None = None
        self.full: ContextFull | None = None
        self.trimmed_messages = 0  # that left the context to make room
        self.notices: list[str] = []  # that a person should read, once each
        self.done: Done | None = None
        self.error: EdgeLLMError | None = None
        self._prefill_began: tuple[float, int] | None = None  # (time, tokens done by then)
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._fresh: tuple[list[str], list[str]] = ([], [])
        self._times: deque[float] = deque()  # of the tokens within RATE_WINDOW_S

    def hear(self, event: Event) -> None:
        match event:
            case PrefillProgress():
                self._hear_prefill(event)
            case TextDelta():
                self._hear_token(WRITING)
                self._text.append(event.text)
                self._fresh[0].append(event.text)
            case ReasoningDelta():
                self._hear_token(THINKING)
                self._thoughts.append(event.text)
                self._fresh[1].append(event.text)
            case MemorySample():
                self.memory = event.use
            case ContextFull():
                self.full = event
            case ContextTrimmed():
                self.trimmed_messages += event.dropped_messages
            case EngineFallback():
                self.notices.append(event.reason)
            case Done():
                self.done, self.phase = event, ENDED
            case _:
                pass

    def fail(self, error: EdgeLLMError) -> None:
        self.error, self.phase = error, ENDED

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def thoughts(self) -> str:
        return "".join(self._thoughts)

    def take_fresh(self) -> tuple[str, str]:
        """(text, thoughts) since this was last asked."""
        (text, thoughts), self._fresh = self._fresh, ([], [])
        return "".join(text), "".join(thoughts)

    @property
    def used_tokens(self) -> int:
        """Of the context, by prompt and answer so far."""
        if self.done is not None and self.done.usage.prompt_tokens:
            return self.done.usage.prompt_tokens + self.done.usage.generated_tokens
        return (self.prefill.total if self.prefill else 0) + self.tokens

    @property
    def tokens_per_s(self) -> float | None:
        """Decoding speed now, over the last two seconds; at the end that of the whole answer."""
        if self.done is not None:
            generated, timings = self.done.usage.generated_tokens, self.done.timings
            return timings.rate(generated, timings.decode_s) or None
        self._forget_old()
        if len(self._times) < 2:
            return None
        spent_s = self._clock() - self._times[0]
        return len(self._times) / spent_s if spent_s > 0 else None

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self.began_s

    @property
    def prefill_left_s(self) -> float | None:
        """How long reading the prompt will still take; None until that can be told."""
        if self.prefill is None or self._prefill_began is None:
            return None
        began_s, first = self._prefill_began
        read, spent_s = self.prefill.processed - first, self._clock() - began_s
        if read <= 0 or spent_s <= 0:
            return None
        return (self.prefill.total - self.prefill.processed) * spent_s / read

    def _hear_prefill(self, event: PrefillProgress) -> None:
        self.phase, self.prefill = READING, event
        if self._prefill_began is None:
            self._prefill_began = self._clock(), event.processed

    def _hear_token(self, phase: str) -> None:
        now_s = self._clock()
        if self.first_token_s is None:
            self.first_token_s = now_s - self.began_s
        self.phase = phase
        self.tokens += 1
        self._times.append(now_s)
        self._forget_old()

    def _forget_old(self) -> None:
        oldest_s = self._clock() - RATE_WINDOW_S
        while self._times and self._times[0] < oldest_s:
            self._times.popleft()
