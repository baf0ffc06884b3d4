"""The transcript: one widget that draws the lines that are seen, and lays out only those items."""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from edgellm.apps.chat.transcript.code import CODE
from edgellm.apps.chat.transcript.look import GROUNDED, PARTS, Look
from edgellm.apps.chat.transcript.rows import Rows
from edgellm.apps.chat.transcript.turns import BRANCH, COPY, FOLD, Item

_BAR_CELLS = 2
_KEPT_ITEMS = 64  # laid out at a time; more are dropped once they are out of sight
_CLICKS = (CODE, COPY, FOLD, BRANCH)


class Transcript(ScrollView, can_focus=True):
    """Items from top to bottom, following the end until somebody scrolls up."""

    DEFAULT_CSS = """
    Transcript {
        background: $background;
        color: $foreground;
        padding: 0 1;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        & > .transcript--user { color: $accent; }
        & > .transcript--name { color: $primary; }
        & > .transcript--muted { color: $text-muted; }
        & > .transcript--thought { color: $text-muted; text-style: italic; }
        & > .transcript--warning { color: $text-warning; }
        & > .transcript--heading { color: $text-primary; text-style: bold; }
        & > .transcript--link { color: $text-accent; text-style: underline; }
        & > .transcript--code { background: $surface; color: $foreground; }
        & > .transcript--inline-code { background: $surface; color: $text-warning; }
        & > .transcript--mark { color: $accent; }
        &:ansi {
            & > .transcript--user { color: ansi_cyan; }
            & > .transcript--name { color: ansi_blue; }
            & > .transcript--muted { color: ansi_default; text-style: dim; }
            & > .transcript--thought { color: ansi_default; text-style: dim italic; }
            & > .transcript--warning { color: ansi_yellow; }
            & > .transcript--heading { color: ansi_default; }
            & > .transcript--link { color: ansi_blue; }
            & > .transcript--code { background: ansi_default; color: ansi_default; }
            & > .transcript--inline-code { background: ansi_default; color: ansi_yellow; }
            & > .transcript--mark { color: ansi_magenta; }
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"transcript--{part}" for part in PARTS}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Up", show=False, id="transcript.line-up"),
        Binding("down", "scroll_down", "Down", show=False, id="transcript.line-down"),
        Binding("pageup", "page_up", "Page up", show=False, id="transcript.page-up"),
        Binding("pagedown", "page_down", "Page down", show=False, id="transcript.page-down"),
        Binding("home", "scroll_home", "Beginning", show=False, id="transcript.home"),
        Binding("end", "scroll_end", "End", show=False, id="transcript.end"),
    ]

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
        self._items: list[Item] = []
        self._rows = Rows()
        self._laid: dict[int, Sequence[Strip]] = {}  # lines by the item's index
        self._at: tuple[int, int] | None = None  # (item, line) seen at the top; None: the end
        self._cursor: int | None = None
        self._look: Look | None = None
        self._width = 0  # of the text, in cells
        self._is_settling = False

    # What is shown

    def show(self, items: Sequence[Item]) -> None:
        """Show these instead, from the end."""
        self._items = list(items)
        self._cursor = self._at = None
        self._lay_out_anew()

    def add(self, item: Item) -> None:
        self._items.append(item)
        self._rows.append(item.estimate(max(self._width, 1)))
        self._settle()

    def take_out(self, key: int) -> None:
        """Take an item away; its neighbours keep what was laid out of them."""
        self._items = [item for item in self._items if item.key != key]
        self._lay_out_anew()

    def changed(self, key: int) -> None:
        """An item has other lines now; a growing one costs only what it grew by."""
        index = self._index(key)
        if index is None:
            return
        self._laid.pop(index, None)
        if self._at is None or self._rows.is_measured(index):
            self._measure(index)
        self._settle()

    def item(self, key: int) -> Item | None:
        index = self._index(key)
        return None if index is None else self._items[index]

    @property
    def items(self) -> Sequence[Item]:
        return self._items

    @property
    def follows_end(self) -> bool:
        return self._at is None

    def follow_end(self) -> None:
        self._at = None
        self._settle()

    # The cursor

    @property
    def cursor(self) -> Item | None:
        """The item that commands about one turn are for."""
        return None if self._cursor is None else self._items[self._cursor]

    def move_cursor(self, step: int) -> None:
        """To the next (1) or the previous (-1) item; the first step takes the last one."""
        if not self._items:
            return
        if self._cursor is None:
            self._cursor = len(self._items) - 1
        else:
            self._cursor = min(max(self._cursor + step, 0), len(self._items) - 1)
        self._reveal(self._cursor)

    def put_cursor(self, key: int | None) -> None:
        self._cursor = None if key is None else self._index(key)
        if self._cursor is not None:
            self._reveal(self._cursor)
        self.refresh()

    # Drawing

    def render_line(self, y: int) -> Strip:
        style, width = self.rich_style, self.scrollable_content_region.width
        line = self.scroll_offset.y + y
        if self._look is None or not self._items or line >= self._rows.total:
            return Strip.blank(width, style)
        index, within = self._rows.at(line)
        lines = self._lines(index)
        body = lines[within] if within < len(lines) else Strip.blank(0)
        body = self._selected(body.apply_offsets(0, line), line)
        bar = self._bar(index, within + 1 < len(lines))
        return Strip([bar, *body]).apply_style(style).adjust_cell_length(width, style)

    def _bar(self, index: int, is_inside: bool) -> Segment:
        assert self._look is not None
        if not is_inside:  # the blank line after an item
            return Segment(" " * _BAR_CELLS, self._look.base)
        if index == self._cursor:
            return Segment("┃ ", self._look["mark"])
        mark = self._items[index].mark
        return Segment("▌ ", self._look[mark]) if mark else Segment("  ", self._look.base)

    def _selected(self, strip: Strip, line: int) -> Strip:
        selection = self.text_selection
        span = None if selection is None else selection.get_span(line)
        if span is None:
            return strip
        start, end = span[0], strip.cell_length if span[1] == -1 else span[1]
        style = self.screen.get_component_rich_style("screen--selection")
        before, inside, after = strip.divide([start, end, max(strip.cell_length, end)])
        return Strip.join([before, inside.apply_style(Style.null() + style), after])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The lines as they are seen; all of it is what was written."""
        if selection.start is None and selection.end is None:
            return "\n\n".join(getattr(item, "text", "") for item in self._items), "\n"
        first = selection.start.y if selection.start else 0
        last = min(selection.end.y if selection.end else self._rows.total, self._rows.total - 1)
        rows = [self._text_of(line) for line in range(first, last + 1)]
        moved = Selection(
            selection.start and selection.start - (0, first),
            selection.end and selection.end - (0, first),
        )
        return moved.extract("\n".join(rows)), "\n"

    def _text_of(self, line: int) -> str:
        index, within = self._rows.at(line)
        lines = self._lines(index)
        return lines[within].text.rstrip() if within < len(lines) else ""

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    # Where it is

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        if not self._is_settling and self._items and round(old_value) != round(new_value):
            self._scrolled(int(new_value), is_up=new_value < old_value)
        super().watch_scroll_y(old_value, new_value)

    def _scrolled(self, line: int, *, is_up: bool) -> None:
        if line >= self.max_scroll_y:
            self._at = None
        else:
            index, within = self._rows.at(line)
            if not self._rows.is_measured(index):
                estimated = self._rows.height(index)
                self._measure(index)
                if is_up:  # what was just below stays just below
                    within += self._rows.height(index) - estimated
            self._at = index, max(within, 0)
        self._settle()

    def _settle(self) -> None:
        """Lay out what is seen, and keep seeing it."""
        height = self.scrollable_content_region.height
        if self._look is None or not height or self._is_settling:
            return
        self._is_settling = True
        try:
            top = self._top_of_end(height) if self._at is None else self._top_of_place(height)
            self.virtual_size = Size(self.scrollable_content_region.width, self._rows.total)
            self.set_reactive(ScrollView.scroll_y, float(top))
            self.set_reactive(ScrollView.scroll_target_y, float(top))
            self.vertical_scrollbar.position = top
            self.refresh()
        finally:
            self._is_settling = False
        self._drop_unseen(top, height)

    def _top_of_end(self, height: int) -> int:
        index = len(self._items)
        while index and self._rows.total - self._rows.top(index) < height:
            index -= 1
            self._measured(index)
        return max(self._rows.total - height, 0)

    def _top_of_place(self, height: int) -> int:
        assert self._at is not None
        index, within = self._at
        self._measured(index)
        within = min(within, self._rows.height(index) - 1)
        self._at = index, within
        below = index + 1
        while (
            below < len(self._items)
            and self._rows.top(below) < self._rows.top(index) + within + height
        ):
            self._measured(below)
            below += 1
        top = self._rows.top(index) + within
        if top + height < self._rows.total or below < len(self._items):
            return top
        return self._top_of_end(height)

    def _reveal(self, index: int) -> None:
        """Scroll so that the item's beginning, or all of it where it is short, is seen."""
        self._measured(index)
        height, top = self.scrollable_content_region.height, self._rows.top(index)
        seen = self.scroll_offset.y
        bottom = top + self._rows.height(index)
        if top < seen or self._rows.height(index) > height:
            self._at = index, 0
        elif bottom > seen + height:
            self._at = self._rows.at(bottom - height)
        if self._at is not None and index + 1 == len(self._items) and bottom - top <= height:
            self._at = None
        self._settle()

    # Laying out

    def _lay_out_anew(self) -> None:
        self._laid.clear()
        self._rows.reset([item.estimate(max(self._width, 1)) for item in self._items])
        self._settle()

    def _index(self, key: int) -> int | None:
        """Found from the end, where what changes is."""
        for index in range(len(self._items) - 1, -1, -1):
            if self._items[index].key == key:
                return index
        return None

    def _lines(self, index: int) -> Sequence[Strip]:
        if index not in self._laid:
            assert self._look is not None
            self._laid[index] = self._items[index].lines(self._look, self._width)
        return self._laid[index]

    def _measured(self, index: int) -> None:
        if not self._rows.is_measured(index):
            self._measure(index)

    def _measure(self, index: int) -> None:
        self._rows.measure(index, len(self._lines(index)))

    def _drop_unseen(self, top: int, height: int) -> None:
        if len(self._laid) <= _KEPT_ITEMS:
            return
        first, last = self._rows.at(top)[0], self._rows.at(top + height)[0]
        for index in [index for index in self._laid if not first - 2 <= index <= last + 2]:
            del self._laid[index]
            self._items[index].forget()

    # What happens to it

    def on_resize(self) -> None:
        width = max(self.scrollable_content_region.width - _BAR_CELLS - 1, 1)
        if width != self._width:
            self._width = width
            self._lay_out_anew()
        else:
            self._settle()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.call_later(self._wear_look)  # the parts' styles come after the widget's own

    def _wear_look(self) -> None:
        look = self._read_look()
        if look != self._look:
            self._look = look
            self._lay_out_anew()

    def _read_look(self) -> Look:
        styles = {part: self.get_component_rich_style(f"transcript--{part}") for part in PARTS}
        parts = {
            part: style if part in GROUNDED else style.from_color(style.color) + _manner(style)
            for part, style in styles.items()
        }
        theme, ansi = self.app.current_theme, self.app.native_ansi_color
        base = Style.from_color(self.rich_style.color)
        return Look.of(base, parts, dark=theme.dark, ansi=ansi)

    def on_click(self, event: events.Click) -> None:
        for what in _CLICKS:
            if what in event.style.meta and self._items:
                line = self.scroll_offset.y + event.get_content_offset(self).y  # type: ignore[union-attr]
                index, _ = self._rows.at(line)
                self.post_message(
                    self.Clicked(what, event.style.meta[what], self._items[index].key)
                )
                event.stop()
                return


def _manner(style: Style) -> Style:
    """How a style writes, without its colours."""
    return Style(bold=style.bold, dim=style.dim, italic=style.italic, underline=style.underline)
