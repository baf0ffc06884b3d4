"""What the widgets show, kept up with the engine and the answer under way."""

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

from rich.text import Text
from textual.timer import Timer
from textual.widgets import Static

from edgellm.apps.chat.answering.answer import WRITING, Answer
from edgellm.apps.chat.answering.engine import State
from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.hints import of_turn
from edgellm.apps.chat.items import attached_line
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.apps.chat.widgets import activity
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.apps.chat.widgets.machine import Machine, look_at_machine
from edgellm.apps.chat.widgets.side_panel import PanelView, SidePanel
from edgellm.apps.chat.widgets.status import Status, StatusBar
from edgellm.apps.terminal_text import harmless, one_line

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen
    from edgellm.runtimes.protocol import Settled

FRAME_S = 1 / 15  # between two looks at an answer
# An answer's lines may take so much of the time: the rest is for keys.
LAYOUT_SHARE = 0.25
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
        self._live: TurnItem | None = None  # the answer under way
        self._held = ""  # heard, but not to be shown before more is kept
        self._shown = 0  # characters of the answer
        self._next_layout_s = 0.0
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
        self._live, self._held, self._shown = item, "", 0
        self._rates.clear()
        self._said = None  # what is going on now is of more interest
        self._next_layout_s = self._next_figures_s = 0.0
        self.wake()

    def end(self) -> None:
        """The answer has ended: show its last words; who knows how it ended shows the rest."""
        if self._live is not None:
            self._lay_out(self._live)
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
        if self._live is not None and now_s >= self._next_layout_s:
            self._lay_out(self._live)
            spent_s = perf_counter() - now_s
            self._next_layout_s = now_s + max(FRAME_S, spent_s / LAYOUT_SHARE)
        if now_s >= self._next_figures_s:
            self._next_figures_s = now_s + FIGURES_S
            self._note_rate()
            self._show_figures()
            self._show_activity()
        if not self._chat.talk.is_busy and self._chat.engine.state is not State.LOADING:
            assert self._frames is not None
            self._frames.pause()
            self.refresh()

    def _lay_out(self, item: TurnItem) -> None:
        answer = self._chat.talk.answer
        assert answer is not None, "it is under way"
        text, thoughts = answer.take_fresh()
        self._held += text
        limit = self._chat.talk.showable
        ready = self._held if limit is None else self._held[: max(limit - self._shown, 0)]
        if ready or thoughts:
            self._held = self._held[len(ready) :]
            self._shown += len(ready)
            item.append(harmless(ready), harmless(thoughts))
            self._chat.transcript.changed(item.key)

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
        chat.query_one(StatusBar).show(self._status(answer, used))
        panel = chat.query_one(SidePanel)
        if panel.display:
            panel.show(self._panel_view(answer, used))

    def _status(self, answer: Answer | None, used: int | None) -> Status:
        engine = self._chat.engine
        model = engine.model if engine.is_ready else None
        plan = None if model is None else model.plan
        prefill = None if answer is None else answer.prefill
        return Status(
            model=engine.name,
            used_tokens=used,
            context=None if model is None else model.info.context,
            tokens_per_s=None if answer is None else answer.tokens_per_s,
            first_token_s=None if answer is None else answer.first_token_s,
            cached_share=prefill.cached / prefill.total if prefill and prefill.total else None,
            resident_bytes=None if engine.memory is None else engine.memory.resident_bytes,
            planned_bytes=None if plan is None else plan.memory.total_bytes,
            badges=("JSON",) if self._chat.desk.settings.json_schema else (),
        )

    def _panel_view(self, answer: Answer | None, used: int | None) -> PanelView:
        engine = self._chat.engine
        model = engine.model if engine.is_ready else None
        settled = None if model is None else model.info.settled
        prefill = None if answer is None else answer.prefill
        done = None if answer is None else answer.done
        rate = None if answer is None else answer.tokens_per_s
        return PanelView(
            model=engine.name,
            about="" if settled is None else engine_in_short(settled),
            plan=None if model is None else model.plan,
            memory=(answer.memory if answer else None) or engine.memory,
            used_tokens=used,
            context=None if model is None else model.info.context,
            rates=(*self._rates, *([rate] if rate else [])),
            prefill_tokens_per_s=(
                None
                if done is None
                else done.timings.rate(
                    done.usage.prompt_tokens - done.usage.cached_tokens, done.timings.prefill_s
                )
            ),
            first_token_s=None if answer is None else answer.first_token_s,
            cached=None if prefill is None else (prefill.cached, prefill.total),
            machine=self.machine,
        )

    def _look_at_machine(self) -> None:
        if self._chat.query_one(SidePanel).display:
            self._chat.run_worker(self._looked, thread=True, group="machine", exclusive=True)

    def _looked(self) -> None:
        machine = look_at_machine()
        self._chat.app.call_from_thread(self._note_machine, machine)

    def _note_machine(self, machine: Machine) -> None:
        self.machine = machine
        self._show_figures()


def engine_in_short(settled: "Settled") -> str:
    """What computes, without its list of instructions: "CPU, 2 threads"."""
    device = settled.engine.partition(" with ")[0]
    threads = "1 thread" if settled.threads == 1 else f"{settled.threads} threads"
    return f"{device}, {threads}"
