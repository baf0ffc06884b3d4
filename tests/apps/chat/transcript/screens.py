"""The transcript alone on a screen."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from edgellm.apps.chat.transcript.turns import Item
from edgellm.apps.chat.transcript.view import Transcript
from tests.support.pilots import wait_until

BAR_CELLS = 2
EDGE_CELLS = 1  # of the screen, left of the bar


class Screen(App[None]):
    """Between two other lines, so that lines of the screen are not those of the transcript."""

    CSS = "Transcript { height: 1fr; } Static { height: 1; }"

    def __init__(self, items: Sequence[Item]) -> None:
        super().__init__()
        self.given = items
        self.clicks: list[tuple[str, object, int]] = []

    def compose(self) -> ComposeResult:
        yield Static("above")
        yield Transcript()
        yield Static("below")

    def on_mount(self) -> None:
        self.transcript.show(self.given)
        self.transcript.focus()

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def seen(self) -> list[str]:
        """The lines in sight, without the bar."""
        lines = [self.transcript.render_line(y).text for y in range(self.transcript.page)]
        return [line[BAR_CELLS:].rstrip() for line in lines]

    @property
    def drawn(self) -> list[str]:
        """The same as they stand on the screen, where lines are drawn anew only if told so."""
        rows = self.screen._compositor.render_strips()[1 : 1 + self.transcript.page]
        return [row.text[EDGE_CELLS + BAR_CELLS : -2].rstrip() for row in rows]

    @property
    def marked(self) -> list[str]:
        """What of each line in sight looks selected."""
        colour = self.screen.get_component_rich_style("screen--selection").bgcolor
        lines = [self.transcript.render_line(y) for y in range(self.transcript.page)]
        return [
            "".join(text for text, style, _ in line if style and style.bgcolor == colour).rstrip()
            for line in lines
        ]

    def on_transcript_clicked(self, event: Transcript.Clicked) -> None:
        self.clicks.append((event.what, event.value, event.key))


@asynccontextmanager
async def showing(
    items: Sequence[Item], size: tuple[int, int] = (60, 22)
) -> AsyncIterator[tuple[Screen, Pilot[None]]]:
    """A running app; 20 lines of the transcript are seen."""
    app = Screen(items)
    async with app.run_test(size=size) as pilot:
        await wait_until(pilot, lambda: app.transcript.column.look and app.transcript.max_scroll_y)
        yield app, pilot


def where(app: Screen, text: str) -> tuple[int, int]:
    """The first place of a text in sight, as an offset in the transcript."""
    for y, line in enumerate(app.seen):
        if text in line:
            return EDGE_CELLS + BAR_CELLS + cell_len(line[: line.index(text)]), y
    raise AssertionError(f"{text!r} is not in sight: {app.seen}")


async def wheel(pilot: Pilot[Any], app: Screen, turns: int) -> None:
    """Down, or up where it is negative."""
    kind = events.MouseScrollDown if turns > 0 else events.MouseScrollUp
    for _ in range(abs(turns)):
        await pilot._post_mouse_events([kind], app.transcript, (5, 5))


async def drag_scrollbar(pilot: Pilot[Any], app: Screen, start: int, end: int) -> None:
    """By its thumb, between two lines of the transcript."""
    bar = app.transcript.vertical_scrollbar
    await pilot.mouse_down(bar, offset=(0, start))
    await pilot.hover(bar, offset=(0, end))
    await pilot.mouse_up(bar, offset=(0, end))


async def drag(
    pilot: Pilot[Any], app: Screen, start: tuple[int, int], end: tuple[int, int]
) -> None:
    """Select with the mouse."""
    await pilot.mouse_down(app.transcript, offset=start)
    await pilot.hover(app.transcript, offset=end)
    await pilot.mouse_up(app.transcript, offset=end)
