"""The prompt: what is lent and given back, pages by other keys, commands completed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from edgellm.apps.chat.app import ChatApp
from edgellm.apps.chat.dialogs.helping import HelpDialog
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.apps.chat.widgets.completions import Completions
from edgellm.apps.chat.widgets.prompt import Prompt
from edgellm.testing import FakeRuntime
from tests.support.pilots import chatting, end, run

PARAGRAPHS = "\n\n".join(f"paragraph {number}" for number in range(60))


class Writing(App[None]):
    """A prompt on an empty screen."""

    def compose(self) -> ComposeResult:
        yield Prompt()


@asynccontextmanager
async def writing() -> AsyncIterator[tuple[Prompt, Pilot[None]]]:
    app = Writing()
    async with app.run_test() as pilot:
        try:
            yield app.query_one(Prompt), pilot
        finally:
            await end(pilot)


def test_what_a_text_took_the_place_of_can_be_brought_back() -> None:
    async def script() -> None:
        async with writing() as (prompt, pilot):
            await pilot.press(*"mine")
            prompt.fill("another\ntext")
            assert prompt.cursor_location == (1, 4)
            await pilot.press("ctrl+z")
            assert prompt.text == "mine"

    run(script())


def test_what_was_written_comes_back_after_others_were_edited() -> None:
    async def script() -> None:
        async with writing() as (prompt, pilot):
            await pilot.press(*"mine")
            for text in ("theirs", "another's"):
                prompt.lend(text)
                await pilot.press("!")
                assert (prompt.text, prompt.own_text) == (f"{text}!", "mine")
            prompt.restore()
            assert (prompt.text, prompt.own_text) == ("mine", "mine")
            await pilot.press("!")
            assert prompt.own_text == "mine!"

    run(script())


def test_tab_only_completes_what_enter_does(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.press(*"/hel", "tab")
            await chat.settle()
            assert (chat.chat.prompt.text, chat.dialog) == ("/help", None)
            await chat.press("enter")
            await chat.until(lambda: isinstance(chat.dialog, HelpDialog))
            assert chat.chat.prompt.text == ""

    run(script())


def test_pages_are_turned_by_the_keys_of_the_file(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=[PARAGRAPHS], context=4096)
        keys = {"page-up": "f9", "prompt.page-up": "f10"}
        async with chatting(tmp_path, runtime, keys=keys) as chat:
            await chat.send("Tell")
            await chat.press("pageup")
            assert chat.chat.transcript.follows_end
            await chat.type("\n" * 40)
            await chat.press("pageup")
            assert chat.chat.prompt.cursor_location == (40, 0)
            await chat.press("f10")
            assert chat.chat.prompt.cursor_location[0] < 40
            assert chat.chat.transcript.follows_end
            await chat.press("f9")
            assert not chat.chat.transcript.follows_end

    run(script())


@pytest.mark.parametrize("width", [30, 45, 80])
def test_each_command_that_is_suggested_takes_one_line(tmp_path: Path, width: int) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(width, 24)) as chat:
            await chat.press("/")
            shown = chat.chat.query_one(Completions)
            await chat.until(lambda: shown.has_class("-shown") and shown.size.height)
            assert shown.option_count > shown.size.height == 8
            assert shown.virtual_size.height == shown.option_count
            assert shown.max_scroll_x == 0

    run(script())


def test_nothing_is_said_of_models_before_it_is_known_whether_one_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*words: object) -> None:
        """The time before the beginning goes on."""

    monkeypatch.setattr(ChatApp, "_begin", nothing)

    async def script() -> None:
        async with chatting(tmp_path, model=None, wait=False) as chat:
            chat.chat.showing.refresh()
            assert chat.chat.query_one(ActivityLine).render().plain == ""

    run(script())
