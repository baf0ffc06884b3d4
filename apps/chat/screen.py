"""The chat's screen: what stands where, and which key and message leads to which command."""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from time import monotonic
from typing import ClassVar, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Static

from edgellm.apps.chat.answering.engine import Engine
from edgellm.apps.chat.collecting import pass_over_what_is_open
from edgellm.apps.chat.commands.table import BY_NAME, COMMANDS
from edgellm.apps.chat.conversations.records import Turn
from edgellm.apps.chat.desk import Desk
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.hints import Keys, placeholder, shown_key, welcome
from edgellm.apps.chat.items import LATER, items_of, live_item
from edgellm.apps.chat.showing import Showing
from edgellm.apps.chat.talk import Talk
from edgellm.apps.chat.transcript.turns import RuleItem
from edgellm.apps.chat.transcript.view import Transcript
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.apps.chat.widgets.completions import Completions
from edgellm.apps.chat.widgets.prompt import Prompt
from edgellm.apps.chat.widgets.side_panel import SidePanel
from edgellm.apps.chat.widgets.status import StatusBar
from edgellm.apps.chat.widgets.turns import Turns
from edgellm.apps.chat.working import begin
from edgellm.errors import EdgeLLMError

T = TypeVar("T")
SETTLED_S = 0.5  # after which what was opened is drawn
AGAIN_S = 3.0  # within which a second Ctrl+C leaves
Act = Callable[["ChatScreen", str], Awaitable[None]]


def bindings() -> list[BindingType]:
    """The keys of all commands; each may be given another in config.toml by the command's name."""
    return [
        Binding(
            command.keys,
            f"command('{command.name}')",
            command.title,
            show=False,
            priority=command.name in ("quit", "palette"),
            id=command.name,
        )
        for command in COMMANDS
        if command.keys
    ]


class ChatScreen(Screen[None]):
    """Owns the widgets; what they show is Desk's, Engine's and Talk's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(),
        Binding("ctrl+c", "interrupt", "Copy, or leave", show=False, id="interrupt"),
        Binding("pageup", "page(-1)", "A page up", show=False, id="page-up"),
        Binding("pagedown", "page(1)", "A page down", show=False, id="page-down"),
        Binding("ctrl+home", "beginning", "To the beginning", show=False, id="beginning"),
        Binding("ctrl+end", "end", "To the end", show=False, id="end"),
    ]
    AUTO_FOCUS = "Prompt"

    def __init__(self, desk: Desk, engine: Engine, keys: Keys) -> None:
        """keys: of everything, by the names of config.toml."""
        super().__init__()
        self.keys = keys
        self.desk = desk
        self.engine = engine
        self.talk = Talk(desk, engine, begun=self._begun, unsaved=self._unsaved)
        self.showing = Showing(self)
        self.editing: int | None = None  # the turn whose text is in the prompt
        self.begun = asyncio.Event()  # the first model is loaded, or there is none
        self.is_asking = False  # a question is being kept, waits for the model, or is answered
        self._interrupted_s = -AGAIN_S
        self._notices = 0  # lines in the transcript that nothing keeps

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        with Horizontal(id="middle"):
            with Vertical(id="chat"):
                yield Turns(id="transcript")
                yield Static(id="attached")
                yield Completions(id="completions")
                yield ActivityLine(id="activity")
                yield Prompt(placeholder(self.keys), id="prompt")
            yield SidePanel(id="panel")
        yield StatusBar(id="status")

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    @property
    def prompt(self) -> Prompt:
        return self.query_one(Prompt)

    # What commands use

    def act(self, name: str, argument: str = "") -> None:
        """Do what a command says, beside the event loop's other work."""
        command = BY_NAME[name]
        self.showing.hush()
        function: Act = getattr(import_module(command.module), command.function_name)
        begin(self, self._guarded, function, argument, group="commands")

    async def _guarded(self, function: Callable[..., Awaitable[None]], word: object) -> None:
        try:
            await function(self, word)
        except EdgeLLMError as error:
            self.tell(str(error), "error")

    async def ask(self, dialog: Dialog[T]) -> T | None:
        """Show a dialog and wait for its answer."""
        return await self.app.push_screen_wait(dialog)

    def tell(self, text: str, severity: str = "information") -> None:
        """Say something above the prompt that need not be kept: information, warning or error."""
        self.showing.say(text, severity)

    def note(self, text: str) -> None:
        """Say something at the end of the transcript, until it is drawn anew."""
        self._notices += 1
        self.transcript.add(RuleItem(-(1 << 62) - self._notices, text))

    @property
    def stop_key(self) -> str:
        return shown_key(self.keys["stop"])

    def leave_edit(self) -> None:
        """Edit no turn any more; what was written before comes back into the prompt."""
        if self.editing is not None:
            self.editing = None
            self.transcript.put_cursor(None)
            self.prompt.restore()

    def show_conversation(self) -> None:
        """Draw the open conversation anew, from its end."""
        self.transcript.show(list(items_of(self.desk.conversation, welcome(self.keys))))
        self.set_timer(SETTLED_S, pass_over_what_is_open)
        self.showing.refresh()

    # What happens on the screen

    def _begun(self, turn: Turn) -> None:
        item = live_item(turn, self.desk.conversation.siblings(turn.id))
        if self.transcript.item(LATER) is not None:
            self.transcript.take_out(LATER)  # this answer is the latest now
        self.transcript.add(item)
        self.showing.begin(item)

    def _unsaved(self, error: EdgeLLMError) -> None:
        self.tell(f"This answer cannot be kept as it comes: {error}", "error")

    def on_resize(self) -> None:
        self.showing.resized()

    def on_mount(self) -> None:
        self.showing.start()
        self.show_conversation()

    def action_command(self, name: str) -> None:
        self.act(name)

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        from edgellm.apps.chat.commands.sending import submit

        self.showing.hush()
        begin(self, self._guarded, submit, event.text, group="commands")

    def on_text_area_changed(self) -> None:
        from edgellm.apps.chat.commands.view import keep_unsent

        self.query_one(Completions).suggest(self.prompt.text)
        begin(self, keep_unsent, self, group="unsent", exclusive=True)

    def on_prompt_refused(self) -> None:
        self.tell("That is too long for a prompt; save it to a file and /attach it.", "warning")

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted goes to the prompt, whatever has the keys."""
        self.set_focus(self.prompt)
        self.prompt._forward_event(events.Paste(event.text))

    def on_turns_strayed(self) -> None:
        self.showing.refresh()

    def action_page(self, step: int) -> None:
        self.transcript.action_move_pages(step)

    def action_beginning(self) -> None:
        self.transcript.action_move_home()

    def action_end(self) -> None:
        self.transcript.action_move_end()

    def on_prompt_completing(self, event: Prompt.Completing) -> None:
        completions = self.query_one(Completions)
        completions.suggest(self.prompt.text)  # its change may not have been heard of yet
        if event.step:
            completions.step(event.step)
        elif (chosen := completions.chosen) is not None:
            self.prompt.fill(f"/{chosen.name} " if chosen.argument else f"/{chosen.name}")
            if event.is_done and not chosen.argument:
                self.prompt.action_send()

    def on_prompt_leaving(self) -> None:
        self.act("quit")

    def on_prompt_interrupted(self) -> None:
        self.action_interrupt()

    def action_interrupt(self) -> None:
        """Copy what is selected; where nothing is, leave at the second time."""
        if text := self.get_selected_text():
            self.app.copy_to_clipboard(text)
        elif monotonic() - self._interrupted_s < AGAIN_S:
            self.act("quit")
        else:
            self._interrupted_s = monotonic()
            self.tell(f"Ctrl+C again leaves. {self.stop_key} stops an answer.")

    def on_transcript_clicked(self, event: Transcript.Clicked) -> None:
        from edgellm.apps.chat.commands.clicks import clicked

        begin(self, self._guarded, clicked, event, group="commands")

    def on_side_panel_opened(self, event: SidePanel.Opened) -> None:
        self.act("open", str(event.conversation))
