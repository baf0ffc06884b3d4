"""Rows of tables as lines."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from edgellm.apps.chat.transcript.inline import Line, wrapped, written
from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.pieces import Columns, Rows

_GAP_CELLS = 2  # between columns
_LEAST_CELLS = 4  # narrower columns are shown below each other


def table_lines(rows: Rows, look: Look, width: int, style: Style) -> Iterator[Line]:
    """Lines of at most `width` cells, with the header where it belongs."""
    widths = column_widths(rows.columns, look, width)
    if widths is None:
        yield from _stacked(rows, look, width, style)
        return
    justify = rows.columns.justify
    if rows.is_first:
        bold = style + Style(bold=True)
        yield from _row(rows.columns.header, widths, justify, look, bold)
        rule = (" " * _GAP_CELLS).join("─" * cells for cells in widths)
        yield [Segment(rule, style + look["muted"])]
    for row in rows.rows:
        yield from _row(row, widths, justify, look, style)


def column_widths(columns: Columns, look: Look, width: int) -> list[int] | None:
    """Cells of each column, by the header and the first rows; None where there is no room.

    The widest columns give way first.
    """
    count = len(columns.header)
    room = width - _GAP_CELLS * (count - 1)
    wanted = [
        max(_cells(cell, look) for cell in column) or 1
        for column in zip(columns.header, *columns.sample, strict=True)
    ]
    if sum(wanted) <= room:
        return wanted
    if room < count * _LEAST_CELLS:
        return None
    most = _fair_width(wanted, room)
    widths = [min(one, most) for one in wanted]
    left = room - sum(widths)
    for index, one in enumerate(wanted):
        if left and one > widths[index]:
            widths[index] += 1
            left -= 1
    return widths


def _fair_width(wanted: Sequence[int], room: int) -> int:
    """The most that a column may have, so that all together fit."""
    narrower = 0
    ordered = sorted(wanted)
    for index, one in enumerate(ordered):
        if narrower + one * (len(ordered) - index) > room:
            return (room - narrower) // (len(ordered) - index)
        narrower += one
    return ordered[-1]


def _cells(text: str, look: Look) -> int:
    shown = written(text, look, Style.null())
    shown.expand_tabs()
    return max(map(cell_len, shown.plain.split("\n")))


def _row(
    row: Sequence[str], widths: Sequence[int], justify: Sequence[str], look: Look, style: Style
) -> Iterator[Line]:
    columns = [
        [
            _padded(line, cells, side, style)
            for line in wrapped(written(cell, look, style), look, cells)
        ]
        for cell, cells, side in zip(row, widths, justify, strict=True)
    ]
    empties = [[Segment(" " * cells, style)] for cells in widths]
    gap = Segment(" " * _GAP_CELLS, style)
    for lines in zip_longest(*columns):
        joined: Line = []
        for index, line in enumerate(lines):
            joined += [*([gap] if index else ()), *(line or empties[index])]
        yield joined


def _padded(line: Line, cells: int, side: str, style: Style) -> Line:
    left = cells - sum(segment.cell_length for segment in line)
    before = {"left": 0, "right": left, "center": left // 2}[side]
    return [Segment(" " * before, style), *line, Segment(" " * (left - before), style)]


def _stacked(rows: Rows, look: Look, width: int, style: Style) -> Iterator[Line]:
    """Each cell below its column's header, where the columns do not fit beside each other."""
    for number, row in enumerate(rows.rows):
        if number or not rows.is_first:
            yield [Segment("─" * min(width, _LEAST_CELLS), style + look["muted"])]
        for name, cell in zip(rows.columns.header, row, strict=True):
            text = written(name, look, style + Style(bold=True))
            shown = Text.assemble(text, ": ", written(cell, look, style), style=style, end="")
            yield from wrapped(shown, look, width)
    if not rows.rows:
        for name in rows.columns.header:
            yield from wrapped(written(name, look, style + Style(bold=True)), look, width)
