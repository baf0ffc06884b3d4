"""Rounds of loading, reading and writing: how fast a model is for whoever uses it.

What is measured is llama-bench's: reading so many tokens, and writing so many, each behind `depth`
earlier ones. Every round loads the model anew, so that none finds what another one left.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

from edgellm.apps.cli.speed_prompts import PromptWriter
from edgellm.apps.cli.speed_timing import Ask, greedy, time_answer
from edgellm.errors import Cancelled, UsageError
from edgellm.events import Done, Event
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.cancel import CancelToken, heeding
from edgellm.runtimes.protocol import ModelInfo

_FIRST_WORDS = "Zero", 2  # a prompt and tokens to write, for what only the first answer takes


@dataclass(frozen=True, slots=True)
class Course:
    """What each round goes through."""

    prompt_tokens: int
    generate_tokens: int
    depths: tuple[int, ...]  # tokens that are in the KV cache before
    rounds: int  # that count; one more comes before them

    @property
    def context(self) -> int:
        """Tokens that the KV cache has to hold."""
        return max(self.depths) + max(self.prompt_tokens, self.generate_tokens + 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """One round at one depth, by the caller's clock."""

    depth: int
    load_s: float
    first_token_s: float  # from asking a prompt of prompt_tokens to the first text
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    engine_decode_tokens_per_s: float  # by the engine's clock: without what the way here takes


class SpeedRounds:
    """Owns what rounds share; nothing is loaded between them."""

    def __init__(self, load: Callable[[], Model], course: Course, cancel: CancelToken) -> None:
        self._load = load
        self._course = course
        self._cancel = cancel
        self._prompts: dict[int, tuple[str, str]] = {}
        self.info: ModelInfo | None = None  # of the model as it was loaded first

    def samples(self) -> Iterator[tuple[int, Sample]]:
        """Every sample with its round; those of round 0 are not to be counted.

        Raises UsageError when the context is too small, Cancelled, and what loading and answering
        raise.
        """
        for number in range(1 + self._course.rounds):
            for depth in self._course.depths:
                yield number, self._sample(depth)

    def _sample(self, depth: int) -> Sample:
        began = perf_counter()
        with self._load() as model:
            load_s = perf_counter() - began
            self._check(model.info)
            before, prompt = self._prompts_of(model, depth)
            ask = self._asking(model)
            time_answer(ask, *_FIRST_WORDS)
            if depth:
                time_answer(ask, before, 1)
            read = time_answer(ask, prompt, 1)
            written = time_answer(ask, before, self._course.generate_tokens + 1)
        return Sample(
            depth,
            load_s,
            read.first_token_s,
            read.prefill_tokens_per_s,
            written.decode_tokens_per_s,
            written.engine_decode_tokens_per_s,
        )

    def _check(self, info: ModelInfo) -> None:
        if info.context < self._course.context:
            raise UsageError(
                f"depth {max(self._course.depths)} with {self._course.prompt_tokens} tokens to "
                f"read or {self._course.generate_tokens} to write needs a context of "
                f"{self._course.context} tokens, and the model is loaded with {info.context}; "
                f"give less, or a larger --context where the model has one"
            )
        self.info = self.info or info

    def _prompts_of(self, model: Model, depth: int) -> tuple[str, str]:
        """What is in the cache before, and that with the tokens to read behind it."""
        if depth not in self._prompts:
            writer = PromptWriter(model.count_tokens)
            before = writer.text(depth)
            more = depth + self._course.prompt_tokens
            self._prompts[depth] = (
                before,
                writer.longer(before, more) if depth else writer.text(more),
            )
        return self._prompts[depth]

    def _asking(self, model: Model) -> Ask:
        def ask(prompt: str, tokens: int) -> Iterator[Event]:
            with greedy(model, prompt, tokens) as events, heeding(self._cancel, events.cancel):
                for event in events:
                    if isinstance(event, Done) and event.stop_reason == "cancelled":
                        raise Cancelled("measuring was cancelled")
                    yield event

        return ask
