"""Draws the README's pictures of the chat: `python -m benchmarks.chat.screenshots`.

The real app with the bundled model, converted as the demo converts it: a conversation in a wide
terminal, the choice of a model in a small one, and a plan on its way to a conversion.
"""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from benchmarks.svg import write_picture
from edgellm.apps.chat.app import ChatApp
from edgellm.apps.chat.screen import ChatScreen
from edgellm.apps.chat.start import Start
from edgellm.children import child_command, child_environment
from edgellm.store import Store

QUESTIONS = ("Where did you find the old letter?", "And who had written it, do you think?")
SEED = 14
SMALL = "novelist-small"
PATIENCE_S = 60.0


@asynccontextmanager
async def chatting(folder: Path, size: tuple[int, int], theme: str) -> AsyncIterator["Hand"]:
    app = ChatApp(Start(folder, "novelist-7m", {"threads": 1}, theme=theme))
    async with app.run_test(size=size) as pilot:
        hand = Hand(app, pilot)
        await hand.until(lambda: isinstance(app.screen, ChatScreen) and app.engine.is_ready)
        yield hand


class Hand:
    """Uses the app as a person does."""

    def __init__(self, app: ChatApp, pilot: Pilot[None]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def chat(self) -> ChatScreen:
        (screen,) = (one for one in self.app.screen_stack if isinstance(one, ChatScreen))
        return screen

    async def until(self, condition: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "the app did not get there"
            await self._pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)
        await self._pilot.pause(0.2)

    async def send(self, text: str) -> None:
        self.chat.prompt.insert(text)
        await self.press("enter")

    async def ask(self, text: str) -> None:
        count = len(self.chat.desk.conversation.turns)
        await self.send(text)
        await self.until(
            lambda: (
                len(self.chat.desk.conversation.turns) == count + 2 and not self.chat.talk.is_busy
            )
        )

    def draw(self, name: str) -> None:
        self.chat.prompt.cursor_blink = False
        print(write_picture(name, self.app.export_screenshot(title="edgellm chat")))


async def draw_conversation(folder: Path) -> None:
    async with chatting(folder, (132, 36), "textual-dark") as hand:
        await hand.send(f"/set seed {SEED}")
        for question in QUESTIONS:
            await hand.ask(question)
        await hand.press("f5")  # another answer, as a branch
        await hand.until(lambda: not hand.chat.talk.is_busy)
        await hand.until(lambda: hand.chat.showing.machine and not hand.chat.showing.said)
        hand.draw("chat")


async def draw_models(folder: Path) -> None:
    async with chatting(folder, (80, 24), "textual-light") as hand:
        await hand.send(f"/set seed {SEED}")
        await hand.ask(QUESTIONS[0])
        await hand.press("ctrl+l")
        await hand.until(lambda: SMALL in hand.app.export_screenshot())
        hand.draw("chat-models")
        await hand.press("escape")


async def draw_plan(folder: Path) -> None:
    async with chatting(folder, (100, 34), "textual-dark") as hand:
        await hand.send("/convert novelist-7m")
        await hand.press("tab", *"52MiB", "tab", *"1024", "tab", "left", "enter")
        await hand.until(lambda: "bits" in hand.app.export_screenshot())
        await hand.press()
        hand.draw("chat-convert")
        await hand.press("escape")


def convert(*options: str) -> None:
    """Put the bundled model into the store."""
    words = ["convert", "novelist-7m", *options, "--sensitivity", "static", "--json"]
    command = child_command("edgellm", *words)
    subprocess.run(command, env=child_environment(), check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.environ["EDGELLM_HOME"] = name
        convert("--memory", "58MiB", "--context", "1024")
        convert("--memory", "49MiB", "--context", "512", "-o", str(Store(Path(name)).path(SMALL)))
        for number, draw in enumerate((draw_conversation, draw_models, draw_plan)):
            asyncio.run(draw(Path(name) / f"chats-{number}"))


if __name__ == "__main__":
    main()
