"""Which lines of a column are seen: those at its end, or those from a place that somebody chose."""

from collections.abc import Sequence

from textual.strip import Strip

from edgellm.apps.chat.transcript.column import Column

Place = tuple[int, int]  # (index of an item, line within it)
NEAR_PAGES = 4  # scrolling further goes by estimates


class Viewport:
    """Owns the place at the top. Heights are in lines.

    Items are measured as they come into sight. What is seen stays where it is then, and while
    items above it change.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        self.place: Place | None = None  # at the top; None follows the end

    def settle(self, height: int) -> int:
        """Measure what is seen. The line at the top."""
        if self.place is not None and (top := self._top_of_place(self.place, height)) is not None:
            return top
        self.place = None
        return self._top_of_end(height)

    def move(self, lines: int, seen: int) -> None:
        """Go so many lines down, or up; every line on the way is one. seen: line at the top."""
        self.place = self._moved(self.place or self._column.rows.at(seen), lines)

    def scroll(self, seen: int, line: int, height: int) -> None:
        """See this line at the top, as far as lines are known before they are measured."""
        if line >= self._column.rows.total - height:
            self.place = None
        elif abs(line - seen) <= NEAR_PAGES * height:
            self.move(line - seen, seen)
        else:
            self.place = self._column.rows.at(line)

    def reveal(self, index: int, height: int, seen: int) -> None:
        """Have an item in sight, of a long one its beginning. seen: line at the top."""
        rows, own = self._column.rows, self._column.height(index)
        if rows.top(index) < seen or own > height:
            self.place = index, 0
        elif rows.top(index) + own > seen + height:
            self.place = self._moved((index, own - 1), 1 - height)

    def change(self, index: int) -> None:
        """An item has other lines now."""
        if not self._column.rows.is_measured(index):
            return
        before, after = self._column.change(index)
        if self.place is not None and self.place[0] == index:
            self.place = index, _same_line(before, after, self.place[1])

    def take_out(self, index: int) -> None:
        """An item is gone, just before the column forgets it."""
        if self.place is not None and self.place[0] >= index:
            at, within = self.place
            self.place = (index, 0) if at == index else (at - 1, within)

    def _moved(self, place: Place, lines: int) -> Place:
        """So many lines below a place, or above it; items on the way are measured."""
        index, line = place[0], place[1] + lines
        while line < 0 and index > 0:
            index -= 1
            line += self._column.height(index)
        while index + 1 < len(self._column.items) and line >= self._column.height(index):
            line -= self._column.height(index)
            index += 1
        return index, max(line, 0)

    def _top_of_place(self, place: Place, height: int) -> int | None:
        """None where the end is in sight."""
        column = self._column
        if place[0] >= len(column.items):
            return None
        index, within = place[0], min(place[1], column.height(place[0]) - 1)
        self.place = index, within
        seen, below = column.height(index) - within, index + 1
        while seen <= height and below < len(column.items):
            seen += column.height(below)
            below += 1
        return column.rows.top(index) + within if seen > height else None

    def _top_of_end(self, height: int) -> int:
        index, seen = len(self._column.items), 0
        while index and seen < height:
            index -= 1
            seen += self._column.height(index)
        return max(self._column.rows.total - height, 0)


def _same_line(before: Sequence[Strip] | None, after: Sequence[Strip], line: int) -> int:
    """Where a line of an item is now: as far from its beginning, or from its end."""
    if before is not None and line < len(before):
        from_end = len(after) - (len(before) - line)
        for at in (line, from_end):
            if 0 <= at < len(after) and after[at] == before[line]:
                return at
    return min(line, len(after) - 1)
