"""What is selected with the mouse: how it looks, and its text.

A place in a selection is numbered by item and line, not by the line of the whole, so that it stays
where it is while items above it come to be measured.
"""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Offset
from textual.selection import Selection
from textual.strip import Strip

from edgellm.apps.chat.transcript.column import Column

_LINES = 1 << 32


def line_number(index: int, line: int) -> int:
    """What Textual takes for the vertical place of a line of an item."""
    return index * _LINES + line


def highlighted(line: Strip, selection: Selection | None, number: int, style: Style) -> Strip:
    """The line with what is selected of it in that style."""
    span = None if selection is None else selection.get_span(number)
    if span is None:
        return line
    text, end = line.text, line.cell_length  # spans count characters
    start = cell_len(text[: span[0]])
    stop = end if span[1] == -1 else max(cell_len(text[: span[1]]), start)
    before, inside, after = line.divide([start, stop, max(end, stop)])
    chosen = Strip(Segment.apply_style(inside, post_style=style), inside.cell_length)
    return Strip.join([before, chosen, after])


def text_seen(column: Column, selection: Selection) -> str:
    """The selected lines as they are laid out."""
    last_item = len(column.items) - 1
    first, start = _place(selection.start, (0, 0))
    last, stop = _place(selection.end, (last_item, _LINES))
    rows: list[str] = []
    for index in range(first, min(last, last_item) + 1):
        texts = [line.text.rstrip() for line in column.lines(index)]
        rows += texts[start if index == first else 0 : stop + 1 if index == last else None]
    if rows and selection.end is not None:
        rows[-1] = rows[-1][: selection.end.x]
    if rows and selection.start is not None:
        rows[0] = rows[0][selection.start.x :]
    return "\n".join(rows)


def _place(offset: Offset | None, default: tuple[int, int]) -> tuple[int, int]:
    return default if offset is None else divmod(offset.y, _LINES)
