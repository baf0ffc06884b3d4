"""The app: opens the conversations, shows the screen, loads the model behind it, ends in order."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen
from textual.worker import WorkerFailed

from edgellm.apps.chat import clipboard
from edgellm.apps.chat.answering.engine import Engine
from edgellm.apps.chat.commands.table import COMMANDS
from edgellm.apps.chat.conversations import catalog, remembered
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.states import StateShelf
from edgellm.apps.chat.desk import Desk
from edgellm.apps.chat.guard import ending_signals
from edgellm.apps.chat.keys import changed_keys, default_keys
from edgellm.apps.chat.screen import ChatScreen
from edgellm.apps.chat.start import Start
from edgellm.apps.chat.working import begin
from edgellm.errors import EdgeLLMError, UsageError

if TYPE_CHECKING:
    from textual.driver import Driver

STATES_BYTES = 4 << 30  # on the disk, for all conversations together
THEME = "theme"  # remembered under this name
DEFAULT_THEME = "textual-dark"


class ChatCommands(Provider):
    """The palette's entries: every command of the chat."""

    async def discover(self) -> Hits:
        for command in COMMANDS:
            yield DiscoveryHit(command.title, self._doing(command.name), help=f"/{command.name}")

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in COMMANDS:
            score = matcher.match(f"{command.name} {command.title}")
            if score > 0:
                shown = matcher.highlight(command.title)
                yield Hit(score, shown, self._doing(command.name), help=f"/{command.name}")

    def _doing(self, name: str) -> "_Doing":
        screen = self.screen
        assert isinstance(screen, ChatScreen)
        return _Doing(screen, name)


@dataclass(frozen=True, slots=True)
class _Doing:
    """Does one command when it is called."""

    screen: ChatScreen
    name: str

    def __call__(self) -> None:
        self.screen.act(self.name)


class ChatApp(App[None], inherit_bindings=False):
    """Talks with a model; everything said is kept."""

    TITLE = "edgellm chat"
    CSS_PATH = "chat.tcss"
    COMMANDS: ClassVar = {ChatCommands}
    BINDINGS: ClassVar[list[BindingType]] = []
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, start: Start, driver_class: "type[Driver] | None" = None) -> None:
        """Raises FormatError for keys that mean nothing, UsageError for an unknown theme."""
        super().__init__(driver_class=driver_class)
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-normal"), (120, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-low"), (16, "-high")]
        self._start = start
        self._held = ExitStack()  # until the app ends
        self.engine = Engine(start.load)
        self.archive: Archive | None = None
        self.failure: EdgeLLMError | None = None  # why the app ended
        self.set_keymap(changed_keys(start.keys, start.config))
        if start.theme is not None:
            self.theme = self._known_theme(start.theme)

    @property
    def crash(self) -> Exception | None:
        """A defect of ours that ended the app."""
        return self._exception

    @property
    def keymap_shown(self) -> Mapping[str, str]:
        """The keys of each command as they are now."""
        return {**default_keys(), **self._start.keys}

    async def on_mount(self) -> None:
        asyncio.get_running_loop().set_exception_handler(_pass_over_errors)
        self._held.enter_context(ending_signals(self._end_in_order))
        try:
            screen = await self._open()
        except EdgeLLMError as error:
            self.failure = error
            self.exit()
            return
        await self.push_screen(screen)
        self.call_after_refresh(self._begin, screen)

    async def on_unmount(self) -> None:
        self._held.close()
        await self.engine.close()
        if self.archive is not None:
            await self.archive.close()

    async def _open(self) -> ChatScreen:
        archive = self.archive = await Archive.open(self._start.folder)
        shelf = StateShelf(self._start.folder / "states", STATES_BYTES)
        desk = Desk(archive, shelf)
        if self._start.resume and (newest := await archive.do(catalog.list_newest, 1)):
            await desk.open(newest[0].id)
        if self._start.system is not None:
            await desk.change(system=self._start.system)
        if self._start.theme is None:
            chosen = await archive.do(remembered.recall, THEME)
            if chosen in self.available_themes:
                self.theme = chosen
        return ChatScreen(desk, self.engine, self.keymap_shown)

    async def _begin(self, screen: ChatScreen) -> None:
        """What may come after the first paint: the model, old questions, the list of chats."""
        from edgellm.apps.chat.commands.models import LAST_MODEL, load_first
        from edgellm.apps.chat.commands.view import UNSENT

        assert self.archive is not None
        model = self._start.model or await self.archive.do(remembered.recall, LAST_MODEL)
        begin(screen, load_first, screen, model, group="load")
        said = await self.archive.do(remembered.list_said, 200)
        screen.prompt.set_history(said)
        unsent = await self.archive.do(remembered.recall, UNSENT)
        if unsent and unsent not in said and not screen.prompt.text:
            screen.prompt.fill(unsent)
        await screen.showing.refresh_chats()

    def _end_in_order(self) -> None:
        """Leave as if somebody had asked for it: the terminal is going away."""
        for screen in self.screen_stack:
            if isinstance(screen, ChatScreen):
                screen.act("quit")
                return
        self.exit()

    async def wear_theme(self, name: str) -> None:
        """Change the colours, also of the next start. Raises UsageError."""
        self.theme = self._known_theme(name)
        if self.archive is not None:
            await self.archive.do(remembered.remember, THEME, name)

    def _known_theme(self, name: str) -> str:
        if name not in self.available_themes:
            known = ", ".join(sorted(self.available_themes))
            raise UsageError(f"no theme {name!r}; known: {known}")
        return name

    def copy_to_clipboard(self, text: str) -> None:
        """What Textual's own widgets copy goes the same way."""
        self._clipboard = text
        begin(self, self.put_into_clipboard, text, group="copy")

    async def put_into_clipboard(self, text: str) -> None:
        """Copy, and say which way worked."""
        copied = await clipboard.copy(text, self._write, os.environ)
        severity = "information" if copied.is_copied else "error"
        if isinstance(self.screen, ChatScreen):
            self.screen.tell(str(copied), severity)
        else:
            self.notify(str(copied), markup=False)

    def _write(self, sequence: str) -> None:
        if self._driver is not None:
            self._driver.write(sequence)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """None but ours: each is in ChatCommands."""
        nothing: Iterator[SystemCommand] = iter(())
        return nothing

    def _handle_exception(self, error: Exception) -> None:
        """What went wrong in work beside the screen, and has a sentence for it, is told."""
        if not isinstance(error, WorkerFailed):
            super()._handle_exception(error)
            return
        if not self.is_running:
            return  # what it was to draw on is gone, as the app ends
        chat = next((one for one in self.screen_stack if isinstance(one, ChatScreen)), None)
        cause = error.error
        if isinstance(cause, EdgeLLMError) and chat is not None:
            chat.tell(str(cause), "error")
        else:  # the cause knows where it was
            super()._handle_exception(cause if isinstance(cause, Exception) else error)

    def _fatal_error(self) -> None:
        """A defect ends the app with one line, which whoever ran it prints."""
        self._close_messages_no_wait()


def _pass_over_errors(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Errors of ours that nobody waited for belong to work that was given up; no line for those."""
    if not isinstance(context.get("exception"), EdgeLLMError):
        loop.default_exception_handler(context)
