"""The transcript: one widget that draws the lines that are seen, and lays out only those items."""

from collections.abc import Sequence
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip

from edgellm.apps.chat.transcript.code import CODE
from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.pane import Pane
from edgellm.apps.chat.transcript.selecting import highlighted, line_number, text_seen
from edgellm.apps.chat.transcript.turns import BRANCH, COPY, FOLD, Item

_CLICKS = (CODE, COPY, FOLD, BRANCH)


class Transcript(Pane):
    """Items from top to bottom, and a cursor on one of them."""

    class Clicked(Message):
        """Somebody clicked on something that acts."""

        def __init__(self, what: str, value: object, key: int) -> None:
            """what: one of the meta keys of turns and code. key: of the item."""
            super().__init__()
            self.what = what
            self.value = value
            self.key = key

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cursor: int | None = None

    # What is shown

    def show(self, items: Sequence[Item]) -> None:
        """Show these instead, from the end."""
        self.column.show(items)
        self._cursor = self.viewport.place = None
        self._unselect()
        self.settle()

    def add(self, item: Item) -> None:
        self.column.add(item)
        self.settle()

    def take_out(self, key: int) -> None:
        """Take an item away; what is seen stays where it is."""
        index = self.column.index(key)
        if index is None:
            return
        if self._cursor is not None and self._cursor >= index:
            self._cursor = None if self._cursor == index else self._cursor - 1
        self.viewport.take_out(index)
        self.column.take_out(index)
        self._unselect()
        self.settle()

    def changed(self, key: int) -> None:
        """An item has other lines now; a growing one costs only what it grew by."""
        index = self.column.index(key)
        if index is not None:
            self.viewport.change(index)
            self.settle()

    def item(self, key: int) -> Item | None:
        index = self.column.index(key)
        return None if index is None else self.items[index]

    @property
    def items(self) -> Sequence[Item]:
        return self.column.items

    # The cursor

    @property
    def cursor(self) -> Item | None:
        """The item that commands about one turn are for."""
        return None if self._cursor is None else self.items[self._cursor]

    def move_cursor(self, step: int) -> None:
        """To the next (1) or the previous (-1) item; the first step takes the last one."""
        if self.items:
            last = len(self.items) - 1
            at = last if self._cursor is None else min(max(self._cursor + step, 0), last)
            self.put_cursor(self.items[at].key)

    def put_cursor(self, key: int | None) -> None:
        self._cursor = None if key is None else self.column.index(key)
        if self._cursor is not None and self.column.look is not None:
            self.viewport.reveal(self._cursor, self.page, self.scroll_offset.y)
            self.settle()
        self.refresh()

    # Drawing

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if self.column.look is None or y >= len(self.in_sight):
            return Strip.blank(width, self.ground)
        index, within, line = self.in_sight[y]
        number = line_number(index, within)
        chosen = self.screen.get_component_rich_style("screen--selection")
        body = highlighted(line.apply_offsets(0, number), self.text_selection, number, chosen)
        edge = _edge(*self._bar(index, within, self.column.look), number)
        drawn = Strip.join([edge, body]).apply_style(self.ground)
        return drawn.adjust_cell_length(width, self.ground)

    def _bar(self, index: int, line: int, look: Look) -> tuple[str, Style]:
        if line + 1 == self.column.rows.height(index):  # the blank line after an item
            return " ", look.base
        if index == self._cursor:
            return "┃", look["mark"]
        mark = self.items[index].mark
        return ("▌", look[mark]) if mark else (" ", look.base)

    # Selecting with the mouse

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The lines as they are seen; all of it is what was written."""
        if selection.start is None and selection.end is None:
            return "\n\n".join(getattr(item, "text", "") for item in self.items), "\n"
        text = text_seen(self.column, selection)
        self.settle()  # which drops what was laid out for this
        return text, "\n"

    def _unselect(self) -> None:
        """Selections tell items by their index."""
        if self.is_attached and self.text_selection is not None:
            self.screen.clear_selection()

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y >= len(self.in_sight):
            return
        meta, item = event.style.meta, self.items[self.in_sight[offset.y][0]]
        if (what := next((what for what in _CLICKS if what in meta), None)) is not None:
            self.post_message(self.Clicked(what, meta[what], item.key))
            event.stop()


@lru_cache(maxsize=256)
def _edge(bar: str, style: Style, number: int) -> Strip:
    """What stands left of a line.

    Both cells are its beginning for whoever selects: so that empty lines can be selected too.
    """
    beginning = Style.from_meta({"offset": (0, number)})
    return Strip([Segment(bar, style + beginning), Segment(" ", beginning)], 2)
