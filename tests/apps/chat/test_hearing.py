"""What a process tells of its work."""

from edgellm.apps.chat.hearing import Hearing
from edgellm.progress import Progress


class Clock:
    """Shows what it is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def left_s(*steps: tuple[float, str, int]) -> float | None:
    """After steps at so many seconds: (when, phase, done of 100)."""
    clock = Clock()
    hearing = Hearing(clock)
    for now_s, phase, done in steps:
        clock.now_s = now_s
        hearing.progress(Progress(phase, done, 100))
    assert hearing.phase is not None
    return hearing.phase.left_s


def test_what_is_left_follows_from_the_pace_so_far() -> None:
    assert left_s((0, "quantize", 0), (10, "quantize", 25)) == 30


def test_what_an_earlier_run_has_done_does_not_count_as_pace() -> None:
    assert left_s((0, "observe", 60), (10, "observe", 80)) == 10


def test_each_phase_is_timed_by_itself() -> None:
    assert left_s((0, "observe", 50), (9, "observe", 90), (10, "quantize", 0)) is None
    assert left_s((0, "observe", 50), (10, "quantize", 0), (20, "quantize", 50)) == 10


def test_a_phase_that_begins_again_is_another_one() -> None:
    assert left_s((0, "hash", 0), (50, "hash", 100), (50, "hash", 0), (60, "hash", 50)) == 10


def test_nothing_is_guessed_of_a_beginning_or_an_end() -> None:
    assert left_s((0, "quantize", 0), (0.5, "quantize", 25)) is None
    assert left_s((0, "quantize", 0), (10, "quantize", 0)) is None
    assert left_s((0, "quantize", 0), (10, "quantize", 100)) is None


def test_the_latest_notes_are_kept() -> None:
    hearing = Hearing()
    for word in ("one", "two", "three", "four"):
        hearing.note(word)
    assert hearing.notes == ("two", "three", "four")
