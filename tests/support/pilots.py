"""Driving the chat in tests: an app on a scripted engine, and waiting for what it does."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from textual.pilot import Pilot

from edgellm.apps.chat.app import ChatApp
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.screen import ChatScreen
from edgellm.apps.chat.start import Start
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.apps.chat.widgets.side_panel import SidePanel
from edgellm.apps.chat.widgets.status import StatusBar
from edgellm.testing import FakeRuntime

F = TypeVar("F", bound=Callable[..., object])

SIZE = (100, 30)
_LOOK_S = 0.01


async def end(pilot: Pilot[Any]) -> None:
    """End an app in its own order; at the end of a test Pilot takes its widgets away first."""
    pilot.app.exit()
    await wait_until(pilot, lambda: not pilot.app.is_running)


async def wait_until(
    pilot: Pilot[Any], condition: Callable[[], object], seconds: float = 20
) -> None:
    """Let the app work until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never so: {_source(condition)}"
        await pilot.pause(_LOOK_S)


def _source(condition: Callable[[], object]) -> str:
    import inspect

    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)


class Driver:
    """A running chat and the ways to use it as a person does."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def chat(self) -> ChatScreen:
        (screen,) = (one for one in self.app.screen_stack if isinstance(one, ChatScreen))
        return screen

    @property
    def texts(self) -> list[str]:
        """What the transcript shows, from the top."""
        return [str(getattr(item, "text", "")) for item in self.chat.transcript.items]

    @property
    def said(self) -> list[str]:
        """The contents of the path, from the top."""
        return [turn.content for turn in self.chat.desk.conversation.path()]

    @property
    def panel(self) -> SidePanel:
        return self.chat.query_one(SidePanel)

    @property
    def last(self) -> TurnItem:
        """The last turn that is shown."""
        turns = [item for item in self.chat.transcript.items if isinstance(item, TurnItem)]
        return turns[-1]

    @property
    def status(self) -> str:
        """The line at the bottom."""
        return self.chat.query_one(StatusBar).render().plain

    @property
    def activity(self) -> str:
        """What stands above the prompt."""
        return self.chat.query_one(ActivityLine).render().plain

    @property
    def told(self) -> str:
        """What was said last, above the prompt or over it."""
        said = self.chat.showing.said
        return "\n".join([said, *(note.message for note in self.app._notifications)]).strip()

    @property
    def dialog(self) -> Dialog[Any] | None:
        """The dialog that stands in front."""
        screen = self.app.screen_stack[-1]
        return screen if isinstance(screen, Dialog) else None

    async def until(self, condition: Callable[[], object]) -> None:
        await wait_until(self.pilot, condition)

    async def settle(self) -> None:
        """Until no answer and no command is under way, or one asks something."""
        await self.until(lambda: self.dialog is not None or not self.is_busy)
        await self.pilot.pause()

    @property
    def is_busy(self) -> bool:
        running = [w for w in self.chat.workers if w.group in ("commands", "load")]
        return self.chat.talk.is_busy or any(not worker.is_finished for worker in running)

    async def type(self, text: str) -> None:
        """Write into the prompt, key by key where that matters."""
        self.chat.prompt.focus()
        self.chat.prompt.insert(text)
        await self.pilot.pause()

    async def send(self, text: str) -> None:
        """Send a text, and wait for the end of what follows."""
        await self.type(text)
        await self.pilot.press("enter")
        await self.pilot.pause()
        await self.settle()

    async def leave(self) -> None:
        """Leave as a person does."""
        await self.pilot.press("ctrl+q")
        await self.until(lambda: not self.app.is_running)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def chatting(
    folder: Path,
    runtime: FakeRuntime | None = None,
    *,
    size: tuple[int, int] = SIZE,
    wait: bool = True,
    **start: Any,
) -> AsyncIterator[Driver]:
    """The chat on a FakeRuntime. wait: until its model is loaded."""
    engine = {"runtime": runtime or FakeRuntime(), "isolation": "none"}
    app = ChatApp(Start(folder, **{"model": "any.gguf", "load": engine, **start}))
    async with app.run_test(size=size) as pilot:
        await wait_until(pilot, lambda: isinstance(app.screen_stack[-1], ChatScreen))
        driver = Driver(app, pilot)
        if wait:
            await wait_until(pilot, lambda: app.engine.is_ready or app.engine.error)
            await driver.settle()
        try:
            yield driver
        finally:
            await end(pilot)


def run(script: Coroutine[Any, Any, Any]) -> Any:
    """Run an asynchronous test, which has a minute."""
    return asyncio.run(asyncio.wait_for(script, 60))


def covers(*names: str) -> Callable[[F], F]:
    """Marks a test as one of these commands; a test sees to it that each has one."""

    def mark(test: F) -> F:
        test.covers = names  # type: ignore[attr-defined]
        return test

    return mark
