"""A column seen through a widget: scrolling, sizes, and the look of the theme."""

from itertools import zip_longest
from typing import Any, ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from edgellm.apps.chat.transcript.column import Column
from edgellm.apps.chat.transcript.look import GROUNDED, PARTS, Look, manner
from edgellm.apps.chat.transcript.viewport import Viewport

BAR_CELLS = 2  # left of the lines
Seen = tuple[int, int, Strip]  # (index of an item, line within it, that line)
_PREFIX = "transcript--"  # of the classes that a look is read from


class Pane(ScrollView, can_focus=True):
    """Follows the end until somebody scrolls up."""

    DEFAULT_CSS = """
    Pane {
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
    COMPONENT_CLASSES: ClassVar[set[str]] = {_PREFIX + part for part in PARTS}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move_lines(-1)", "Up", show=False, id="transcript.line-up"),
        Binding("down", "move_lines(1)", "Down", show=False, id="transcript.line-down"),
        Binding("pageup", "move_pages(-1)", "Page up", show=False, id="transcript.page-up"),
        Binding("pagedown", "move_pages(1)", "Page down", show=False, id="transcript.page-down"),
        Binding("home", "move_home", "Beginning", show=False, id="transcript.home"),
        Binding("end", "move_end", "End", show=False, id="transcript.end"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.column = Column()
        self.viewport = Viewport(self.column)
        self.ground = Style.null()  # of the widget, below the styles of the lines
        self.in_sight: list[Seen] = []  # from the top; fewer than a page where there is no more
        self._is_settling = False

    @property
    def page(self) -> int:
        """Lines that are seen at a time."""
        return self.scrollable_content_region.height

    @property
    def follows_end(self) -> bool:
        return self.viewport.place is None

    def follow_end(self) -> None:
        self.viewport.place = None
        self.settle()

    def action_move_lines(self, lines: int) -> None:
        if self.column.items:
            self.viewport.move(lines, self.scroll_offset.y)
            self.settle()

    def action_move_pages(self, pages: int) -> None:
        self.action_move_lines(pages * self.page)

    def action_move_home(self) -> None:
        self.viewport.place = 0, 0
        self.settle()

    def action_move_end(self) -> None:
        self.follow_end()

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """At once: what comes to be laid out on a slow way would move its aim."""
        super().scroll_to(x, y, **{**options, "animate": False})

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        if self._is_settling or not self.column.items:
            super().watch_scroll_y(old_value, new_value)
        elif round(old_value) != round(new_value):
            self.viewport.scroll(round(old_value), round(new_value), self.page)
            self.settle()

    def settle(self) -> None:
        """Lay out what is seen, and keep seeing it."""
        page, rows = self.page, self.column.rows
        if self.column.look is None or not page or self._is_settling:
            return
        self._is_settling = True
        try:
            top = self.viewport.settle(page)
            # The size of what is scrolled moves no other widget: no need for a layout of all.
            self.set_reactive(ScrollView.virtual_size, Size(self.size.width, rows.total))
            self.set_reactive(ScrollView.scroll_y, float(top))
            self.set_reactive(ScrollView.scroll_target_y, float(top))
            self.vertical_scrollbar.window_virtual_size = rows.total
            self.vertical_scrollbar.position = top
        finally:
            self._is_settling = False
        self._see([self._line(at) for at in range(top, min(top + page, rows.total))])
        if self.in_sight:
            self.column.drop_unseen(self.in_sight[0][0], self.in_sight[-1][0])

    def _line(self, line: int) -> Seen:
        index, within = self.column.rows.at(line)
        return index, within, self.column.lines(index)[within]

    def _see(self, in_sight: list[Seen]) -> None:
        """Have the lines drawn that are others than before: seldom more than the last one."""
        before, self.in_sight = self.in_sight, in_sight
        pairs = enumerate(zip_longest(before, in_sight))
        if changed := [y for y, (was, now) in pairs if was != now]:
            self.refresh(Region(0, changed[0], self.size.width, changed[-1] + 1 - changed[0]))

    def on_resize(self) -> None:
        if self.column.look is not None:
            self._wear(self.column.look)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        # The parts' styles come after the widget's own.
        self.call_later(lambda: self._wear(_look_of(self)))

    def _wear(self, look: Look) -> None:
        self.ground = self.rich_style
        width = self.scrollable_content_region.width - BAR_CELLS - 1
        self.column.wear(look, max(width, 1))
        self.settle()
        self.refresh()


def _look_of(pane: Pane) -> Look:
    styles = {part: pane.get_component_rich_style(_PREFIX + part) for part in PARTS}
    parts = {
        part: style if part in GROUNDED else Style.from_color(style.color) + manner(style)
        for part, style in styles.items()
    }
    base = Style.from_color(pane.rich_style.color)
    app = pane.app
    return Look.of(base, parts, dark=app.current_theme.dark, ansi=app.native_ansi_color)
