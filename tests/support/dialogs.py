"""Dialogs alone on a screen, on machines with the memory that a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from edgellm.apps.chat.answering.engine import Engine
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.hardware import Hardware
from edgellm.testing import FakeRuntime
from tests.support.pilots import end, wait_until

if TYPE_CHECKING:
    from edgellm.apps.launching import LoadSettings

T = TypeVar("T")
GIB = 1 << 30
_MACHINE = Hardware("Linux", "x86_64", "made-up", 4, 8, 0, 0)


class Asking(Generic[T]):
    """An app that asks one thing."""

    def __init__(self, app: App[None], pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot
        self.answers: list[T | None] = []

    @property
    def rows(self) -> list[str]:
        """Of the list in front."""
        options = self.app.screen.query_one(OptionList).options
        return [str(option.prompt).rstrip() for option in options]

    @property
    def pointed(self) -> str:
        return self.rows[self.app.screen.query_one(OptionList).highlighted or 0]

    @property
    def text(self) -> str:
        """Everything that labels in front say."""
        shown = [one for one in self.app.screen.query(Static) if one.display]
        return "\n".join(str(one.content) for one in shown)

    async def until(self, condition: Any) -> None:
        await wait_until(self.pilot, condition)

    async def until_in_front(self, kind: type[Dialog[Any]]) -> None:
        """Until exactly this kind of dialog can be used; the one before may be of a kind below."""
        await self.until(lambda: type(self.app.screen) is kind and self.app.screen.is_mounted)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()


@asynccontextmanager
async def asking(dialog: Dialog[T], size: tuple[int, int] = (100, 30)) -> AsyncIterator[Asking[T]]:
    """Show the dialog until the end of the block."""
    app: App[None] = App()
    app.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (80, "-normal")]  # as the chat's
    async with app.run_test(size=size) as pilot:
        asked: Asking[T] = Asking(app, pilot)
        app.push_screen(dialog, asked.answers.append)
        await asked.until(lambda: app.screen is dialog and dialog.is_mounted)
        await pilot.pause()
        try:
            yield asked
        finally:
            await end(pilot)


def set_memory(monkeypatch: pytest.MonkeyPatch, free_bytes: int, total_bytes: int) -> None:
    """Make this a machine with so much memory."""
    machine = replace(_MACHINE, memory_total_bytes=total_bytes, memory_available_bytes=free_bytes)
    monkeypatch.setattr("edgellm.hardware.detect_hardware", lambda gpus=True: machine)


def fake_engine(runtime: FakeRuntime | None = None, **settings: Any) -> Engine:
    """With no model yet."""
    fake = {"runtime": runtime or FakeRuntime(), "isolation": "none"}
    return Engine(cast("LoadSettings", {**fake, **settings}))


async def loaded_engine(path: Path, runtime: FakeRuntime, **settings: Any) -> Engine:
    engine = fake_engine(runtime, **settings)
    assert await engine.load(str(path))
    return engine
