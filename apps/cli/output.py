"""What the command line prints: JSON and results on stdout, notes and progress on stderr."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from edgellm.progress import Progress, ProgressSink
from edgellm.units import format_bytes

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_INTERVAL_S = 5.0


def print_json(document: dict[str, Any]) -> None:
    """Print the one JSON object of a `--json` command."""
    print(json.dumps(document, ensure_ascii=False, indent=1))


def note(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    sys.stdout.flush()  # so that a terminal shows both streams in order
    print(text, file=sys.stderr, flush=True)


@contextmanager
def terminal_progress() -> Iterator[ProgressSink]:
    """A sink that draws a bar in a terminal and prints a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield PlainProgress()
        return
    with ExitStack() as drawn:
        yield TerminalProgress(drawn)


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
            if progress.done_bytes >= progress.total_bytes:
                return
            self._bars = self._drawn.enter_context(_byte_bars())
        if progress.phase not in self._tasks:
            for earlier in self._tasks.values():
                self._bars.update(earlier, visible=False)
            self._tasks[progress.phase] = self._bars.add_task(
                progress.phase, total=progress.total_bytes
            )
        self._bars.update(
            self._tasks[progress.phase],
            completed=progress.done_bytes,
            total=progress.total_bytes,
        )


def _byte_bars() -> "RichProgress":
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description:<9}"),
        rich.BarColumn(bar_width=None),
        rich.DownloadColumn(binary_units=True),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    return rich.Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def token_progress(phase: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the tokens done since the last call, shown with the time left."""
    if not sys.stderr.isatty():
        yield PlainTokens(phase, total)
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description:<9}"),
        rich.BarColumn(bar_width=None),
        rich.MofNCompleteColumn(),
        rich.TextColumn("tokens"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(phase, total=total)
        yield lambda tokens: bars.advance(task, tokens)


class PlainTokens:
    """Progress in tokens for logs and pipes: a line at first and every few seconds after that."""

    def __init__(self, phase: str, total: int) -> None:
        self._phase = phase
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._printed_at = -math.inf

    def __call__(self, tokens: int) -> None:
        self._done += tokens
        now = time.monotonic()
        if now - self._printed_at < PLAIN_INTERVAL_S:
            return
        self._printed_at = now
        rate = self._done / max(now - self._began, 1e-9)
        note(
            f"{self._phase}: {self._done} of {self._total} tokens, {rate:.0f} tokens/s, "
            f"{(self._total - self._done) / rate:.0f} s left"
        )


class PlainProgress:
    """Progress for logs and pipes: one line per phase and every few seconds after that."""

    def __init__(self) -> None:
        self._started: dict[str, tuple[float, int]] = {}
        self._printed_at = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase not in self._started:
            self._started[progress.phase] = (now, progress.done_bytes)
            return
        if now - self._printed_at < PLAIN_INTERVAL_S:
            return
        self._printed_at = now
        began, first_byte = self._started[progress.phase]
        rate = (progress.done_bytes - first_byte) / max(now - began, 1e-9)
        left_s = (progress.total_bytes - progress.done_bytes) / rate if rate > 0 else 0.0
        note(
            f"{progress.phase}: {format_bytes(progress.done_bytes)} of "
            f"{format_bytes(progress.total_bytes)}, {format_bytes(int(rate))}/s, "
            f"{left_s:.0f} s left"
        )
