"""Items of chosen heights, and what a viewport shows of them."""

from collections.abc import Sequence

from rich.segment import Segment
from textual.strip import Strip

from edgellm.apps.chat.transcript.column import Column
from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.viewport import Viewport
from tests.apps.chat.transcript.samples import PLAIN


class Block:
    """An item whose lines tell which they are; counts what is kept."""

    mark = ""

    def __init__(self, key: int, height: int, estimate: int) -> None:
        self.key = key
        self.names = [f"{key}.{line}" for line in range(height)]
        self.is_kept = False
        self.layouts = 0
        self._estimate = estimate

    @property
    def text(self) -> str:
        return " ".join(self.names)

    def estimate(self, width: int) -> int:
        return self._estimate

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        self.is_kept = True
        self.layouts += 1
        return [Strip([Segment(name)]) for name in self.names]

    def forget(self) -> None:
        self.is_kept = False


def column_of(blocks: Sequence[Block]) -> Column:
    column = Column()
    column.wear(PLAIN, 80)
    column.show(blocks)
    return column


def names(blocks: Sequence[Block]) -> list[str]:
    """Of all lines, from the top."""
    return [name for block in blocks for name in block.names]


def seen(column: Column, viewport: Viewport, height: int) -> list[str]:
    """The names of the lines in sight."""
    top = viewport.settle(height)
    places = [column.rows.at(top + y) for y in range(min(height, column.rows.total - top))]
    return [column.lines(index)[line].text for index, line in places]
