"""The part of the conversion's dialog that tells: plans, refusals, ends; it may be scrolled."""

from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

Report = Callable[[int], Text]  # what is told, for a width in cells

_FRAME_SHARE, _BORDER_LINES = 0.9, 2  # of a dialog's frame
_LEAST_LINES = 3  # whatever the terminal
_GUTTER_CELLS = 2  # a scroll bar's


class ReportView(VerticalScroll, can_focus=False):
    """Shows one report, in the lines that the rest of the dialog leaves."""

    DEFAULT_CSS = """
    ReportView { height: auto; margin-top: 1; display: none; }
    ReportView > Static { height: auto; }
    ReportView.-stale > Static { text-opacity: 50%; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._report: Report = nothing

    def compose(self) -> ComposeResult:
        yield Static()

    def tell(self, report: Report) -> None:
        """Show a report in place of the one before."""
        self._report = report
        self.remove_class("-stale")
        self.draw()

    def add(self, report: Report) -> None:
        """Show a report above the one before."""
        before = self._report
        self.tell(lambda cells: Text("\n").join(filter(None, (report(cells), before(cells)))))

    def fade(self) -> None:
        """What is told is no longer so."""
        self.add_class("-stale")

    def draw(self) -> None:
        """Lay it out for the width and the height there are now."""
        assert self.parent is not None
        text = self._report(self.parent.content_size.width - _GUTTER_CELLS)  # type: ignore[attr-defined]
        self.query_one(Static).update(text)
        self.display = bool(text)
        self.call_after_refresh(self._fit)

    def page(self, step: int) -> None:
        self.scroll_relative(y=step * max(self.size.height - 1, 1), animate=False)

    def _fit(self) -> None:
        assert self.parent is not None
        others = [child for child in self.siblings if child.display]
        taken = sum(child.outer_size.height + child.styles.margin.height for child in others)
        share = 1 if self.screen.has_class("-narrow") else _FRAME_SHARE
        left = int(share * self.screen.size.height) - taken - self.styles.margin.height
        self.styles.max_height = max(left - _BORDER_LINES, _LEAST_LINES)


def nothing(cells: int) -> Text:
    return Text()
