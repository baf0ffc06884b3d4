"""One answer as it is heard: phases, speeds, counts; with a clock of the test's own."""

import pytest

from edgellm.apps.chat.answering.answer import (
    ENDED,
    RATE_WINDOW_S,
    READING,
    THINKING,
    WAITING,
    WRITING,
    Answer,
)
from edgellm.errors import InputError
from edgellm.events import (
    ContextFull,
    ContextTrimmed,
    Done,
    EngineFallback,
    MemorySample,
    MemoryUse,
    PrefillProgress,
    ReasoningDelta,
    TextDelta,
    Timings,
    Usage,
)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answer(clock: Clock) -> Answer:
    return Answer(clock)


def test_the_phases_follow_the_events(answer: Answer) -> None:
    phases = [answer.phase]
    done = Done(Usage(7, 2), Timings(0, 0, 0, 0), "end")
    for event in (PrefillProgress(0, 3, 7), ReasoningDelta("hm"), TextDelta("Yes"), done):
        answer.hear(event)
        phases.append(answer.phase)
    assert phases == [WAITING, READING, THINKING, WRITING, ENDED]


def test_what_is_fresh_is_handed_out_once(answer: Answer) -> None:
    answer.hear(ReasoningDelta("a"))
    answer.hear(TextDelta("b"))
    assert answer.take_fresh() == ("b", "a")
    answer.hear(TextDelta("c"))
    assert answer.take_fresh() == ("c", "")
    assert answer.take_fresh() == ("", "")
    assert (answer.text, answer.thoughts) == ("bc", "a")


def test_the_speed_is_that_of_the_last_seconds(answer: Answer, clock: Clock) -> None:
    assert answer.tokens_per_s is None
    for _ in range(100):  # ten a second, for ten seconds
        clock.now_s += 0.1
        answer.hear(TextDelta("x"))
    assert answer.tokens_per_s == pytest.approx(10, rel=0.1)
    for _ in range(10):  # then one a second
        clock.now_s += 1
        answer.hear(TextDelta("x"))
    assert answer.tokens_per_s == pytest.approx(1, rel=0.6)
    clock.now_s += 2 * RATE_WINDOW_S
    assert answer.tokens_per_s is None  # it has stalled


def test_at_the_end_the_speed_is_that_of_the_whole_answer(answer: Answer) -> None:
    answer.hear(Done(Usage(5, 30), Timings(0, 1, 2.0, 0.1), "end"))
    assert answer.tokens_per_s == 15


def test_the_first_token_is_timed_from_the_request(answer: Answer, clock: Clock) -> None:
    clock.now_s += 0.75
    answer.hear(TextDelta("x"))
    clock.now_s += 5
    answer.hear(TextDelta("x"))
    assert answer.first_token_s == 0.75


def test_how_long_reading_takes_is_told_from_what_was_read(answer: Answer, clock: Clock) -> None:
    answer.hear(PrefillProgress(400, 400, 1000))
    assert answer.prefill_left_s is None  # what was cached says nothing of the speed
    clock.now_s += 2
    answer.hear(PrefillProgress(400, 600, 1000))
    assert answer.prefill_left_s == pytest.approx(4)


def test_the_context_in_use_counts_prompt_and_answer(answer: Answer) -> None:
    assert answer.used_tokens == 0
    answer.hear(PrefillProgress(0, 7, 7))
    answer.hear(TextDelta("x"))
    assert answer.used_tokens == 8
    answer.hear(Done(Usage(7, 3), Timings(0, 0, 0, 0), "end"))  # a delta may hold several tokens
    assert answer.used_tokens == 10


def test_everything_else_is_kept_to_be_shown(answer: Answer) -> None:
    use = MemoryUse(1, 2, 3, 4)
    for event in (
        MemorySample(use),
        ContextFull(9, 9),
        ContextTrimmed(2, 5, 4, 9),
        ContextTrimmed(1, 2, 6, 9),
        EngineFallback("slower"),
    ):
        answer.hear(event)
    assert answer.memory == use
    assert answer.full == ContextFull(9, 9)
    assert answer.trimmed_messages == 3
    assert answer.notices == ["slower"]


def test_an_answer_that_failed_has_ended(answer: Answer) -> None:
    answer.fail(InputError("too long"))
    assert answer.phase == ENDED
    assert str(answer.error) == "too long"
