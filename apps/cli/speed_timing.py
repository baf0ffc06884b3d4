"""How long one answer takes, by the clock of whoever asked for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

from edgellm.events import Done, Event, PrefillProgress, ReasoningDelta, TextDelta
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.api.stream import Stream
from edgellm.runtimes.options import SamplingOptions

# Starts an answer to a prompt, of so many tokens.
Ask = Callable[[str, int], Iterable[Event]]


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """Seconds of one answer, in which the caller does nothing but wait."""

    prefill_s: float  # of the tokens that were not cached
    first_token_s: float  # from asking to the first text
    decode_s: float  # from the end of prefill to the end
    done: Done

    @property
    def prefill_tokens_per_s(self) -> float:
        """Of the tokens that were not cached."""
        usage = self.done.usage
        return self.done.timings.rate(usage.prompt_tokens - usage.cached_tokens, self.prefill_s)

    @property
    def decode_tokens_per_s(self) -> float:
        """Of the tokens behind the first one, which needs no decoding."""
        return self.done.timings.rate(self.done.usage.generated_tokens - 1, self.decode_s)

    @property
    def engine_decode_tokens_per_s(self) -> float:
        """The same by the engine's own clock, which stands while an event is under way."""
        timings = self.done.timings
        return timings.rate(self.done.usage.generated_tokens - 1, timings.decode_s)


def greedy_sampling(tokens: int) -> SamplingOptions:
    """Always the likeliest token, until there are so many, whatever they are."""
    return SamplingOptions(temperature=0, repeat_penalty=1, max_tokens=tokens, ignore_end=True)


def greedy(model: Model, prompt: str, tokens: int) -> Stream:
    """An answer with greedy_sampling()."""
    return model.generate(
        prompt, temperature=0, repeat_penalty=1, max_tokens=tokens, ignore_end=True
    )


def time_answer(ask: Ask, prompt: str, tokens: int) -> AnswerTimes:
    """Wait for an answer of `tokens` tokens. Raises what the answer raises."""
    asked = perf_counter()
    read: list[float] = []
    first = 0.0
    for event in ask(prompt, tokens):
        now = perf_counter()
        match event:
            case PrefillProgress():
                read.append(now)
            case TextDelta() | ReasoningDelta():
                first = first or now
            case Done():
                times = read[-1] - read[0], (first or now) - asked, now - read[-1]
                return AnswerTimes(*times, event)
            case _:
                pass
    raise AssertionError("an answer ends with Done")
