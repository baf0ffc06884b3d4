"""The curve drawn in characters, for a terminal of 80 by 24."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, log10

from edgellm.apps.cli.curve_report import YOURS, CurveReport
from edgellm.planner.curve import CurvePoint
from edgellm.units import format_bytes

WIDTH, HEIGHT = 66, 15  # of the field between the axes
_MARGIN = 11  # columns left of the field: a tick's label and the axis
_LEAST_KLD = 1e-9  # what a logarithmic axis shows of a divergence of nothing


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value falls on an axis of `cells` cells."""

    low: float
    high: float
    cells: int

    def cell(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low or 1.0)
        return min(max(round(share * (self.cells - 1)), 0), self.cells - 1)


@dataclass(frozen=True, slots=True)
class Canvas:
    """Characters by row, the top row first."""

    rows: list[list[str]] = field(default_factory=lambda: [[" "] * WIDTH for _ in range(HEIGHT)])

    def mark(self, column: int, row: int, char: str) -> None:
        self.rows[row][column] = char

    def label(self, column: int, row: int, text: str) -> None:
        """Write beside a mark where nothing is yet: right, left, above, below, or nowhere."""
        inside = min(column, WIDTH - len(text))
        beside = ((row, column + 2), (row, column - 1 - len(text)))
        for at, start in (*beside, (row - 1, inside), (row + 1, inside)):
            if self._is_free(at, start, start + len(text)):
                self.rows[at][start : start + len(text)] = text
                return

    def _is_free(self, row: int, start: int, end: int) -> bool:
        """Whether the cells hold nothing, nor their neighbours on both sides."""
        if not (0 <= row < HEIGHT and start >= 0 and end <= WIDTH):
            return False
        return set(self.rows[row][max(start - 1, 0) : end + 1]) == {" "}


def drawing_lines(report: CurveReport) -> Iterator[str]:
    """The curve as at most 20 lines of at most 78 columns."""
    across, up = _scales(report)
    canvas = _canvas(report, across, up)
    ticks = {HEIGHT - 1 - up.cell(log10(tick)): tick for tick in log_ticks(up.low, up.high)}
    yield "Predicted KL divergence, in nats per token, over total memory"
    for index, row in enumerate(canvas.rows):
        label = f"{ticks[index]:g} ┤" if index in ticks else "│"
        yield f"{label:>{_MARGIN}}{''.join(row)}".rstrip()
    yield f"{'└':>{_MARGIN}}{'─' * WIDTH}"
    yield _bytes_axis(across)
    legend = f"● best plan   ○ one format throughout   ◆ {YOURS}"
    yield f"{'':>{_MARGIN}}{legend}"


def _scales(report: CurveReport) -> tuple[Scale, Scale]:
    sizes = [point.total_bytes for point in report.every]
    levels = [_level(point.kl_divergence) for point in report.every]
    return Scale(min(sizes), max(sizes), WIDTH), Scale(min(levels), max(levels), HEIGHT)


def _level(kl_divergence: float) -> float:
    return log10(max(kl_divergence, _LEAST_KLD))


def _canvas(report: CurveReport, across: Scale, up: Scale) -> Canvas:
    def place(point: CurvePoint) -> tuple[int, int]:
        level = up.cell(_level(point.kl_divergence))
        return across.cell(point.total_bytes), HEIGHT - 1 - level

    canvas = Canvas()
    for point, following in pairwise(report.points):
        for column, level in _between(point, following, across):
            canvas.mark(column, HEIGHT - 1 - up.cell(level), "·")
    for point in report.points:
        canvas.mark(*place(point), "●")
    spots = [(*place(point), name) for name, point in report.uniform.items()]
    for column, row, _ in spots:
        canvas.mark(column, row, "○")
    canvas.mark(*place(report.plan), "◆")
    for column, row, name in spots:
        canvas.label(column, row, name)
    return canvas


def _between(left: CurvePoint, right: CurvePoint, across: Scale) -> Iterator[tuple[int, float]]:
    """Columns from one point to before the next, each with its level on the straight line."""
    first, last = across.cell(left.total_bytes), across.cell(right.total_bytes)
    above, below = _level(left.kl_divergence), _level(right.kl_divergence)
    for column in range(first, last):
        yield column, above + (below - above) * (column - first) / (last - first)


def log_ticks(low: float, high: float, most: int = 7) -> Sequence[float]:
    """Round numbers between two powers of ten: 1, 2 and 5 of each decade, or every few decades."""
    for digits in ((1, 2, 5), (1,)):
        exponents = range(floor(low), ceil(high) + 1)
        ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        within = [tick for tick in ticks if low - 1e-9 <= log10(tick) <= high + 1e-9]
        if len(within) <= most:
            return within
    return within[:: ceil(len(within) / most)]


def _bytes_axis(across: Scale) -> str:
    """Sizes under the left end, the thirds and the right end of the field."""
    line = ""
    for part in range(4):
        size = across.low + (across.high - across.low) * part / 3
        label = format_bytes(round(size))
        centre = _MARGIN + across.cell(size)
        start = min(max(centre - len(label) // 2, len(line) + 1), _MARGIN + WIDTH - len(label))
        line = f"{line:<{start}}{label}"
    return line
