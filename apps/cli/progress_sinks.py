"""How far long work is, on stderr: bars in a terminal, a line now and then elsewhere, or JSON."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from edgellm.apps.cli.output import note, tell_json
from edgellm.apps.cli.settings import tells_json
from edgellm.interrupts import interrupts_held
from edgellm.progress import Progress, ProgressSink, Unit
from edgellm.units import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_INTERVAL_S = 5.0
JSON_INTERVAL_S = 0.1


@contextmanager
def terminal_progress(first_line_s: float = PLAIN_INTERVAL_S) -> Iterator[ProgressSink]:
    """A sink for the time of one job.

    first_line_s: how long to wait before the first line where nothing is drawn.
    """
    if tells_json():
        told = JsonProgress()
        yield told
        told.finish()
    elif sys.stderr.isatty():
        drawn = ExitStack()
        try:
            yield TerminalProgress(drawn)
        finally:
            with interrupts_held():  # half a farewell would leave the cursor hidden
                drawn.close()
    else:
        yield PlainProgress(first_line_s)


@contextmanager
def counted_progress(
    phase: str, total: int, unit: Unit, first_line_s: float = PLAIN_INTERVAL_S
) -> Iterator[Callable[[int], None]]:
    """A function to call with how much was done since the last call; the end is told as all."""
    with terminal_progress(first_line_s) as progress:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress(Progress(phase, done, total, unit=unit))

        advance(0)
        yield advance
        if done < total:
            advance(total - done)


class TerminalProgress:
    """A bar for each phase, drawn as soon as there is something to wait for.

    A run whose files are known to be whole has nothing of the kind, and starts without rich.
    """

    def __init__(self, drawn: ExitStack) -> None:
        self._drawn = drawn  # takes the bars away
        self._bars: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        if self._bars is None:
            if progress.done >= progress.total:
                return
            with interrupts_held():
                self._bars = self._drawn.enter_context(_bars(progress.unit))
        if progress.phase not in self._tasks:
            for earlier in self._tasks.values():
                self._bars.update(earlier, visible=False)
            self._tasks[progress.phase] = self._bars.add_task(progress.phase, total=progress.total)
        self._bars.update(
            self._tasks[progress.phase], completed=progress.done, total=progress.total
        )


def _bars(unit: Unit) -> "RichProgress":
    from rich import progress as rich
    from rich.console import Console

    amounts = (
        (rich.DownloadColumn(binary_units=True), rich.TransferSpeedColumn())
        if unit == "bytes"
        else (rich.MofNCompleteColumn(), rich.TextColumn(unit))
    )
    columns = (
        rich.TextColumn("{task.description:<9}"),
        rich.BarColumn(bar_width=None),
        *amounts,
        rich.TimeRemainingColumn(),
    )
    return rich.Progress(*columns, console=Console(stderr=True), transient=True)


class PlainProgress:
    """Progress for logs and pipes: a line every few seconds."""

    def __init__(self, first_line_s: float = PLAIN_INTERVAL_S) -> None:
        self._started: dict[str, tuple[float, int]] = {}
        self._printed_at = time.monotonic() + first_line_s - PLAIN_INTERVAL_S

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase not in self._started:
            self._started[progress.phase] = (now, progress.done)
            return
        if now - self._printed_at < PLAIN_INTERVAL_S:
            return
        self._printed_at = now
        began, first = self._started[progress.phase]
        note(_line(progress, (progress.done - first) / max(now - began, 1e-9)))


def _line(progress: Progress, rate: float) -> str:
    """rate: units a second."""
    left_s = (progress.total - progress.done) / rate if rate > 0 else 0.0
    if progress.unit == "bytes":
        done, total = format_bytes(progress.done), format_bytes(progress.total)
        pace = f"{format_bytes(int(rate))}/s"
    else:
        done, total = str(progress.done), f"{progress.total} {progress.unit}"
        pace = f"{rate:.{0 if rate >= 10 else 1}f} {progress.unit}/s"
    return f"{progress.phase}: {done} of {total}, {pace}, {left_s:.0f} s left"


class JsonProgress:
    """Progress for a program: a line ten times a second at most, and the end of every phase."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}
        self._ended: set[str] = set()  # phases whose end is told
        self._held: Progress | None = None  # the newest, where it came too soon to be told

    def __call__(self, progress: Progress) -> None:
        phase, now = progress.phase, time.monotonic()
        if self._held is not None and self._held.phase != phase:
            self.finish()
        is_end = progress.done >= progress.total
        is_due = now - self._told_at.get(phase, -math.inf) >= JSON_INTERVAL_S
        if is_due or (is_end and phase not in self._ended):
            self._tell(progress, now)
        else:
            self._held = progress
        if is_end:
            self._ended.add(phase)
        else:
            self._ended.discard(phase)

    def finish(self) -> None:
        """Tell what was held back."""
        if self._held is not None:
            self._tell(self._held, time.monotonic())

    def _tell(self, progress: Progress, now: float) -> None:
        self._told_at[progress.phase] = now
        self._held = None
        tell_json(
            {
                "phase": progress.phase,
                "done": progress.done,
                "total": progress.total,
                "unit": progress.unit,
                "item": progress.item,
            }
        )
