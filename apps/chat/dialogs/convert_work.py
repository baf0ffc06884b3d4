"""The part of the conversion's dialog that shows work under way, with the button that goes on."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Button, Static

from edgellm.apps.chat.dialogs.convert_text import notes_text
from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.widgets.activity import of_work
from edgellm.runtimes.cancel import CancelToken

DRAWN_S = 1 / 8  # between two looks at the progress


class WorkLine(Vertical):
    """Looks at what a job has told, as often as it likes; the job never waits for it."""

    DEFAULT_CSS = """
    WorkLine { height: auto; margin-top: 1; }
    WorkLine > Horizontal { height: 1; }
    WorkLine Button { min-width: 10; }
    WorkLine .progress { width: 1fr; padding: 0 1; }
    WorkLine .notes { height: auto; margin-bottom: 1; display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._doing = ""
        self._hearing = Hearing()
        self._cancel = CancelToken()
        self._ticks: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static(classes="notes")
        with Horizontal():
            yield Button(variant="primary", compact=True)
            yield Static(classes="progress")

    def on_mount(self) -> None:
        self._ticks = self.set_interval(DRAWN_S, self.draw, pause=True)

    @property
    def button(self) -> Button:
        return self.query_one(Button)

    def watch_job(self, doing: str, hearing: Hearing, cancel: CancelToken) -> None:
        """Show where a job is from now on."""
        self._doing, self._hearing, self._cancel = doing, hearing, cancel
        assert self._ticks is not None, "no job begins before it is mounted"
        self._ticks.resume()
        self.draw()

    def rest(self) -> None:
        """The job has ended."""
        assert self._ticks is not None, "no job ends before it is mounted"
        self._ticks.pause()
        self._show(Text(), Text())

    def draw(self) -> None:
        doing = "stopping" if self._cancel.cancelled else self._doing
        cells = self.query_one(".progress").content_size.width
        self._show(of_work(doing, self._hearing, cells), notes_text(self._hearing))

    def _show(self, progress: Text, notes: Text) -> None:
        self.query_one(".progress", Static).update(progress)
        shown = self.query_one(".notes", Static)
        shown.display = bool(notes)
        shown.update(notes)
