"""What the widgets show, kept up with the engine and the answer under way."""

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

from rich.text import Text
from textual.timer import Timer
from textual.widgets import Static

from edgellm.apps.chat.answering.answer import WRITING
from edgellm.apps.chat.answering.engine import State
from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.hints import of_turn
from edgellm.apps.chat.items import attached_line
from edgellm.apps.chat.live import LiveAnswer
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.apps.chat.views import panel_of, status_of
from edgellm.apps.chat.widgets import activity
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.apps.chat.widgets.machine import Machine, look_at_machine
from edgellm.apps.chat.widgets.side_panel import SidePanel
from edgellm.apps.chat.widgets.status import StatusBar
from edgellm.apps.terminal_text import one_line

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

FRAME_S = 1 / 15  # between two looks at an answer
FIGURES_S = 0.25  # between two changes of the numbers
MACHINE_S = 4.0
_RATES = 76  # two a cell of the sparkline
SAID_S = {"information": 4.0, "warning": 6.0, "error": 10.0}  # how long something said stays
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
        self._said = None  # what is going on now is of more interest
        self._next_figures_s = 0.0
        self.wake()

    def end(self) -> None:
        """The answer has ended: show its last words; who knows how it ended shows the rest."""
        if self._live is not None:
            self._live.show()
        self._live = None
        answer = self._chat.talk.answer
        if answer is not None and answer.used_tokens:
            self.used_tokens = answer.used_tokens
        self.refresh()

    def say(self, text: str, severity: str) -> None:
        """Show something for a while in place of what is going on."""
        stays_s = SAID_S[severity]
        shown = Text(text, _COLOURS[severity], no_wrap=True, overflow="ellipsis")
        self._said = shown, perf_counter() + stays_s
        self._chat.set_timer(stays_s + FRAME_S, self.refresh)
        self._show_activity()

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
        chat, answer = self._chat, self._chat.talk.answer
        line = chat.query_one(ActivityLine)
        if self._said is not None and self._said[1] > perf_counter():
            line.show(self._said[0])
        elif chat.engine.state is not State.READY:
            line.show(activity.of_load(chat.engine, chat.size.width - 4))
        elif chat.talk.is_busy and answer is not None:
            line.show(activity.of_answer(answer))
        elif chat.editing is not None:
            line.show(Text("editing: Enter sends it as another branch, Esc leaves it as it was"))
        elif chat.transcript.cursor is not None:
            line.show(Text(of_turn(chat.keys), no_wrap=True, overflow="ellipsis"))
        else:
            line.show(Text())

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
