"""What the widgets show, kept up with the engine and the answer under way."""

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text
from textual.timer import Timer
from textual.widgets import Static

from edgellm.apps.chat.answering.answer import WRITING
from edgellm.apps.chat.answering.engine import State
from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.hints import of_edit, of_turn, shown_key
from edgellm.apps.chat.items import attached_line
from edgellm.apps.chat.live import LiveAnswer
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.apps.chat.views import panel_of, status_of
from edgellm.apps.chat.widgets import activity
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.apps.chat.widgets.machine import Machine, look_at_machine
from edgellm.apps.chat.widgets.side_panel import SidePanel
from edgellm.apps.chat.widgets.status import StatusBar
from edgellm.apps.terminal_text import harmless, one_line

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

FRAME_S = 1 / 15  # between two looks at an answer
FIGURES_S = 0.25  # between two changes of the numbers
MACHINE_S = 4.0
_RATES = 76  # two a cell of the sparkline
SAID_S = {"information": 4.0, "warning": 6.0, "error": 10.0}  # how long something said stays
READ_PER_S = 25  # characters: what takes long to read stays longer
_COLOURS = {"information": "", "warning": "yellow", "error": "red"}


class Showing:
    """Owns the timers, and what was measured along the way."""

    def __init__(self, chat: "ChatScreen") -> None:
        self._chat = chat
        self._frames: Timer | None = None
        self._live: LiveAnswer | None = None
        self._next_figures_s = 0.0
        self._rates: deque[float] = deque(maxlen=_RATES)
        self.machine: Machine | None = None
        self._said: tuple[Text, float] | None = None  # (what was said, until when)
        self.used_tokens: int | None = None  # of the context, by the open conversation

    def start(self) -> None:
        """Begin to look, once the widgets are there."""
        self._frames = self._chat.set_interval(FRAME_S, self._frame, pause=True)
        self._chat.set_interval(MACHINE_S, self._look_at_machine)
        self.refresh()

    def resized(self) -> None:
        """The panel may have come or gone."""
        self.refresh()
        if self.machine is None:
            self._look_at_machine()

    def wake(self) -> None:
        """Something is going on: look often until it has ended."""
        if self._frames is not None:
            self._frames.resume()

    def begin(self, item: TurnItem) -> None:
        """An answer will grow in this item."""
        self._live = LiveAnswer(item, self._chat.talk, self._chat.transcript)
        self._rates.clear()
        self.hush()
        self._next_figures_s = 0.0
        self.wake()

    def end(self) -> None:
        """The answer has ended: show its last words; who knows how it ended shows the rest."""
        if self._live is not None:
            self._live.show()
        self._live = None
        answer = self._chat.talk.answer
        if answer is not None and answer.full is not None:
            self.used_tokens = answer.full.used
        elif answer is not None and answer.used_tokens:
            self.used_tokens = answer.used_tokens
        self.refresh()

    def forget(self) -> None:
        """What was measured is of another conversation, or of another model."""
        self.used_tokens = self._chat.talk.answer = None
        self._rates.clear()

    def say(self, text: str, severity: str) -> None:
        """Show something for a while in place of what is going on."""
        stays_s = SAID_S[severity] + len(text) / READ_PER_S
        shown = Text(harmless(text).strip(), _COLOURS[severity])
        self._said = shown, perf_counter() + stays_s
        self._chat.set_timer(stays_s + FRAME_S, self.refresh)
        self._show_activity()

    def hush(self) -> None:
        """What was said is of no more interest: something else is done now."""
        self._said = None

    def refresh(self) -> None:
        """Show everything as it is now."""
        chat = self._chat
        if not chat.is_mounted:
            return
        self._show_title()
        attached = chat.query_one("#attached", Static)
        attached.display = bool(chat.desk.attachments)
        attached.update(Text("\n".join(f"+ {attached_line(a)}" for a in chat.desk.attachments)))
        self._show_figures()
        self._show_activity()

    @property
    def said(self) -> str:
        """What stands above the prompt for a while; empty where nothing does."""
        if self._said is None or self._said[1] <= perf_counter():
            return ""
        return self._said[0].plain

    async def refresh_chats(self) -> None:
        """Show the newest conversations in the panel."""
        chat = self._chat
        listed = await chat.desk.archive.do(catalog.list_newest, 30)
        if chat.is_mounted:
            panel = chat.query_one(SidePanel)
            panel.show_chats(listed, chat.desk.conversation.id or None)

    def _frame(self) -> None:
        now_s = perf_counter()
        if self._live is not None:
            self._live.show_when_due()
        if now_s >= self._next_figures_s:
            self._next_figures_s = now_s + FIGURES_S
            self._note_rate()
            self._show_figures()
            self._show_activity()
        if not self._chat.talk.is_busy and self._chat.engine.state is not State.LOADING:
            assert self._frames is not None
            self._frames.pause()
            self.refresh()

    def _note_rate(self) -> None:
        answer = self._chat.talk.answer
        if answer is not None and answer.phase == WRITING and answer.tokens_per_s is not None:
            self._rates.append(answer.tokens_per_s)

    def _show_title(self) -> None:
        chat = self._chat
        title = Text(one_line(chat.desk.title), "bold", no_wrap=True, overflow="ellipsis")
        chat.query_one("#title", Static).update(title)

    def _show_activity(self) -> None:
        chat = self._chat
        line = chat.query_one(ActivityLine)
        if chat.transcript.follows_end:
            line.show(self._activity(line.cells))
            return
        key = shown_key(chat.keys["end"])  # the end of what is said is out of sight
        asides = (f"▼ more below: {key}", f"▼ {key}", "▼")
        line.show(self._activity(line.cells - cell_len(asides[1]) - 2), asides)

    def _activity(self, cells: int) -> Text:
        """What is of most interest now: what was said, what is going on, what may be done."""
        chat, answer, item = self._chat, self._chat.talk.answer, self._chat.transcript.cursor
        is_without = chat.engine.state is State.EMPTY and chat.begun.is_set()
        if self._said is not None and self._said[1] > perf_counter():
            return self._said[0]
        if chat.engine.state in (State.LOADING, State.FAILED) or is_without:
            return activity.of_load(chat.engine, cells, chat.keys)
        if chat.talk.is_busy and answer is not None:
            return activity.of_answer(answer, cells, chat.keys, chat.talk.aside)
        if chat.editing is not None:
            return Text(of_edit(chat.keys, chat.desk.conversation.turns[chat.editing].role))
        if isinstance(item, TurnItem):
            return Text(of_turn(chat.keys, item, cells))
        return Text()

    def _show_figures(self) -> None:
        chat, answer = self._chat, self._chat.talk.answer
        used = answer.used_tokens if chat.talk.is_busy and answer else self.used_tokens
        json = chat.desk.settings.json_schema is not None
        chat.query_one(StatusBar).show(status_of(chat.engine, answer, used, json=json))
        panel = chat.query_one(SidePanel)
        if panel.display:
            rates = tuple(self._rates)
            panel.show(panel_of(chat.engine, answer, used, rates, self.machine))

    def _look_at_machine(self) -> None:
        if self._chat.query_one(SidePanel).display:
            self._chat.run_worker(self._looked, thread=True, group="machine", exclusive=True)

    def _looked(self) -> None:
        machine = look_at_machine()
        self._chat.app.call_from_thread(self._note_machine, machine)

    def _note_machine(self, machine: Machine) -> None:
        self.machine = machine
        self._show_figures()
