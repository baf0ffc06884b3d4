"""What a process tells of its work: written on the thread that reads it, shown by the screen."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from edgellm.progress import Progress

_NOTES = 3  # of the latest, that are kept
_SURE_S = 1.0  # of a phase, before its end is guessed


@dataclass(frozen=True, slots=True)
class Phase:
    """The newest of one phase, and how it began."""

    progress: Progress
    first: int  # units that were done when it was first heard of
    began_s: float
    heard_s: float

    def followed(self, progress: Progress, now_s: float) -> "Phase":
        """The same phase further on, or the next one."""
        before = self.progress
        if progress.phase != before.phase or progress.done < before.done:
            return Phase(progress, progress.done, now_s, now_s)
        return Phase(progress, self.first, self.began_s, now_s)

    @property
    def left_s(self) -> float | None:
        """Seconds to the end of the phase at its pace so far; None where nobody knows."""
        took_s, did = self.heard_s - self.began_s, self.progress.done - self.first
        left = self.progress.total - self.progress.done
        if took_s < _SURE_S or did <= 0 or left <= 0:
            return None
        return took_s * left / did


class Hearing:
    """Keeps the newest alone: whoever shows it looks when it likes."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._notes: deque[str] = deque(maxlen=_NOTES)
        self.phase: Phase | None = None

    def progress(self, progress: Progress) -> None:
        """A ProgressSink, for any one thread."""
        now_s = self._clock()
        if self.phase is None:
            self.phase = Phase(progress, progress.done, now_s, now_s)
        else:
            self.phase = self.phase.followed(progress, now_s)

    def note(self, text: str) -> None:
        self._notes.append(text)

    @property
    def notes(self) -> tuple[str, ...]:
        """The latest, oldest first."""
        return tuple(self._notes)
