"""From a checkpoint to a model in the store: what is wanted, the plan, the work, the end."""

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from edgellm.apps.chat.answering.engine import Engine
from edgellm.apps.chat.choosing.references import stored_reference
from edgellm.apps.chat.choosing.verdicts import given_back
from edgellm.apps.chat.dialogs.convert_form import ConvertForm
from edgellm.apps.chat.dialogs.convert_report import Report, ReportView, nothing
from edgellm.apps.chat.dialogs.convert_text import done_text, error_text, plan_text
from edgellm.apps.chat.dialogs.convert_work import WorkLine
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.dialogs.naming import ask_place
from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.making.jobs import Planned, convert, make_plan
from edgellm.apps.chat.making.looking import defaults_of, look, warning_of
from edgellm.apps.chat.making.subject import modes
from edgellm.apps.chat.working import begin
from edgellm.apps.free_memory import FreeMemory, look_at_memory
from edgellm.artifact import Artifact
from edgellm.errors import EdgeLLMError, UsageError
from edgellm.runtimes.cancel import CancelToken
from edgellm.store import Store

T = TypeVar("T")
Job = Callable[[Hearing, CancelToken], T]
PAUSE_S = 0.3  # after a key, before a checkpoint is looked at
LOOK_S = 4.0  # between two looks, where nothing is typed


class Step(Enum):
    """Where the dialog is: what its button says, and what the keys do."""

    WRITING = ("Plan", "Enter plans · Tab next field · Esc leaves")
    PLANNING = ("Stop", "Esc stops; planning again goes on from there")
    PLANNED = ("Convert", "Enter converts · PgDn scrolls · Tab fields · Esc leaves")
    CONVERTING = ("Stop", "Esc stops; converting again goes on from there")
    DONE = ("Chat with it", "Enter chats with it · Esc leaves")

    def __init__(self, button: str, keys: str) -> None:
        self.button = button
        self.keys = keys

    @property
    def is_running(self) -> bool:
        return self in (Step.PLANNING, Step.CONVERTING)


class ConvertDialog(Dialog[str]):
    """Answers with what to load.

    An answer under way behind it goes on, and the loaded model stays until the new one is loaded.
    """

    DEFAULT_CSS = """
    ConvertDialog > Vertical > .warning { color: $text-warning; height: auto; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "act", "Go on", show=False, id="convert.act"),
        Binding("down", "app.focus_next", "Next", show=False, priority=True, id="form.next"),
        Binding(
            "up", "app.focus_previous", "Previous", show=False, priority=True, id="form.previous"
        ),
        Binding("pagedown", "page(1)", "Page down", show=False, id="convert.page-down"),
        Binding("pageup", "page(-1)", "Page up", show=False, id="convert.page-up"),
    ]

    def __init__(self, checkpoint: str, engine: Engine, store: Store) -> None:
        """checkpoint: what stands in the field at first. engine: whose model will make room."""
        super().__init__("Convert a checkpoint")
        self._engine = engine
        self._store = store
        self._form = ConvertForm(checkpoint, modes())
        self._report = ReportView()
        self._line = WorkLine()
        self._step = Step.WRITING
        self._planned: Planned | None = None
        self._plan_report: Report = nothing
        self._made: Artifact | None = None
        self._typed: tuple[str, ...] = ()  # what the plan was made for
        self._cancel: CancelToken | None = None  # of the work under way

    @property
    def key_line(self) -> str:
        return self._step.keys

    def compose_body(self) -> ComposeResult:
        yield self._form
        yield Static(classes="warning")
        yield self._report
        yield self._line

    def on_mount(self) -> None:
        self._line.button.label = self._step.button
        self.set_interval(LOOK_S, self._look_again)
        self._look_soon(0.0)

    def on_resize(self) -> None:
        self.call_after_refresh(self._report.draw)

    # What is known before anything begins

    def on_convert_form_changed(self) -> None:
        if self._step in (Step.PLANNED, Step.DONE) and self._form.typed != self._typed:
            self._planned = self._made = None
            self._go(Step.WRITING)
            self._report.fade()
        self._look_soon(PAUSE_S)

    def _look_again(self) -> None:
        if self._step is Step.WRITING:
            self._look_soon(0.0)

    def _look_soon(self, pause_s: float) -> None:
        begin(self, self._look, pause_s, group="look", exclusive=True)

    async def _look(self, pause_s: float) -> FreeMemory:
        """Look at the memory and at the checkpoint that is typed, and show what was seen."""
        await asyncio.sleep(pause_s)
        settings, typed = self._engine.settings, self._form.checkpoint
        returned_bytes = given_back(self._engine.memory, settings)
        memory = await asyncio.to_thread(look_at_memory, returned_bytes)
        self._form.show_defaults(defaults_of(settings, memory))
        looked = await asyncio.to_thread(look, typed, self._store, settings.get("threads"))
        self._form.show_looked(looked)
        warning = warning_of(looked.subject, self._form.mode, memory)
        shown = self.query_one(".warning", Static)
        shown.update(Text(warning))
        shown.display = bool(warning)
        return memory

    # What a person does

    def on_button_pressed(self) -> None:
        if self._step.is_running:
            self.action_leave()
        else:
            self.action_act()

    def on_input_submitted(self) -> None:
        self.action_act()

    def action_act(self) -> None:
        """Go on to the next step; Enter that was typed twice does nothing meanwhile."""
        if self._step.is_running:
            return
        if self._made is not None:
            self.dismiss(stored_reference(self._store, self._made.folder.name))
        else:
            planned = self._planned
            work = self._plan if planned is None else partial(self._convert, planned)
            begin(self, work, group="work", exclusive=True)

    def action_leave(self) -> None:
        """Stop what runs; leave where nothing does, or where it was asked to stop already."""
        if self._cancel is not None and not self._cancel.cancelled:
            self._cancel.cancel()
        else:
            self.dismiss(None)

    def action_page(self, step: int) -> None:
        self._report.page(step)

    # The work

    async def _plan(self) -> None:
        memory = await self._look(0.0)  # defaults are those of what is typed now
        try:
            order = self._form.order()
        except UsageError as error:
            self._report.tell(partial(error_text, error))
            return
        self._typed = self._form.typed
        self._report.tell(nothing)
        job = partial(make_plan, order, self._store)
        planned = self._planned = await self._work(Step.PLANNING, job, Step.WRITING)
        if planned is not None:
            self._plan_report = partial(plan_text, planned, memory)
            self._report.tell(self._plan_report)
            self._go(Step.PLANNED)

    async def _convert(self, planned: Planned) -> None:
        place = await ask_place(self.app, self._store, planned.subject.name)
        if place is None:
            return
        self._report.tell(self._plan_report)
        out = self._store.path(place.name)
        job = partial(convert, planned, out, place.overwrite)
        made = self._made = await self._work(Step.CONVERTING, job, Step.PLANNED)
        if made is not None:
            self._report.tell(partial(done_text, made))
            self._go(Step.DONE)

    async def _work(self, step: Step, job: Job[T], back: Step) -> T | None:
        """Run a job on a thread; what goes wrong is told, and the dialog goes back a step.

        Where the dialog is closed meanwhile, the job's process is ended.
        """
        hearing, cancel = Hearing(), CancelToken()
        self._cancel = cancel
        self._go(step)
        self._line.watch_job(step.name.lower(), hearing, cancel)
        try:
            return await asyncio.to_thread(job, hearing, cancel)
        except EdgeLLMError as error:
            self._report.add(partial(error_text, error))
        finally:
            cancel.cancel()
            self._cancel = None
        self._go(back)
        return None

    def _go(self, step: Step) -> None:
        self._step = step
        self._form.disabled = step.is_running
        self._line.button.label = step.button
        self.query_one(".keys", Static).update(Text(self.as_bound(step.keys)))
        if step.is_running:
            self.set_focus(None)  # so that Enter, typed twice, stops nothing
            return
        self._line.rest()
        if self.focused is None:
            target = self._form.first if step is Step.WRITING else self._line.button
            target.focus()
