"""Help, the palette, colours, the panel, and leaving."""

from pathlib import Path

import pytest
from textual.command import CommandPalette

from edgellm.apps.chat.commands.table import COMMANDS
from edgellm.apps.chat.dialogs.helping import HelpDialog
from edgellm.apps.chat.dialogs.picker import Picker
from edgellm.apps.chat.widgets.side_panel import SidePanel
from edgellm.testing import FakeRuntime
from tests.support.pilots import chatting, covers, run


@covers("help")
def test_help_shows_every_command_with_the_keys_as_they_are(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, keys={"help": "f12", "turn.edit": "ctrl+x"}) as chat:
            await chat.press("f12")
            await chat.until(lambda: isinstance(chat.dialog, HelpDialog))
            assert chat.dialog is not None
            page = str(chat.dialog.query_one("VerticalScroll > Static").render())
            assert all(f"/{command.name}" in page for command in COMMANDS)
            assert "F12" in page
            assert "(Ctrl+X)" in page
            await chat.press("escape")
            assert chat.dialog is None

    run(script())


@covers("palette")
def test_the_palette_finds_a_command_by_what_it_does(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            await chat.press("ctrl+p")
            await chat.until(lambda: isinstance(chat.app.screen, CommandPalette))
            await chat.press(*"begin a conv")
            await chat.pilot.pause(0.5)
            await chat.press("enter")
            await chat.until(lambda: chat.said == [])

    run(script())


@covers("panel")
@pytest.mark.parametrize(("width", "is_shown"), [(60, False), (100, False), (120, True)])
def test_the_panel_is_there_where_there_is_room_or_when_asked_for(
    tmp_path: Path, width: int, is_shown: bool
) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(width, 30)) as chat:
            panel = chat.chat.query_one(SidePanel)
            for expected in (is_shown, not is_shown, is_shown):
                assert bool(panel.display) == expected
                await chat.press("f2")
                await chat.settle()

    run(script())


def test_the_layout_follows_the_width(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(160, 40)) as chat:
            panel, title = chat.chat.query_one(SidePanel), chat.chat.query_one("#title")
            for width, has_panel, has_title in ((160, 1, 1), (100, 0, 1), (79, 0, 0), (120, 1, 1)):
                await chat.pilot.resize_terminal(width, 30)
                await chat.pilot.pause()
                assert (bool(panel.display), bool(title.display)) == (has_panel, has_title)

    run(script())


@covers("theme")
def test_a_theme_is_worn_and_remembered(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("/theme textual-light")
            assert chat.app.theme == "textual-light"
            await chat.send("/theme purple-rain")
            assert "known:" in chat.told
            await chat.press("f7")
            await chat.until(lambda: chat.dialog)
            await chat.press(*"nord", "enter")
            await chat.settle()
        async with chatting(tmp_path) as chat:
            assert chat.app.theme == "nord"
        async with chatting(tmp_path, theme="dracula") as chat:
            assert chat.app.theme == "dracula"

    run(script())


@covers("quit")
def test_leaving_keeps_everything(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=["word " * 100_000], decode_s=0.005, context=200_000)
        async with chatting(tmp_path, runtime) as chat:
            await chat.type("Talk")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.talk.answer and chat.chat.talk.answer.tokens > 3)
            await chat.leave()
        async with chatting(tmp_path, resume=True) as chat:
            assert chat.said[1].startswith("word")
            assert chat.last.ending == "stopped by you"

    run(script())


@covers("quit")
def test_ctrl_c_leaves_at_the_second_time_and_ctrl_d_at_once(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.press("ctrl+c")
            assert "Ctrl+C again" in chat.told
            assert chat.app.is_running
            await chat.press("ctrl+c")
            await chat.until(lambda: not chat.app.is_running)
        async with chatting(tmp_path) as chat:
            await chat.press("x", "ctrl+d")
            assert chat.app.is_running
            await chat.press("ctrl+u", "ctrl+d")
            await chat.until(lambda: not chat.app.is_running)

    run(script())


@covers("panel", "stop")
def test_esc_hides_the_panel_where_it_covers_the_conversation(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(60, 30)) as chat:
            middle, panel = chat.chat.query_one("#chat"), chat.panel
            await chat.press("f2")
            await chat.settle()
            assert (middle.display, panel.display) == (False, True)
            await chat.press("escape")
            await chat.settle()
            assert (middle.display, panel.display) == (True, False)
            await chat.press("x")
            assert chat.chat.prompt.text == "x"

    run(script())


@covers("panel", "stop")
def test_esc_leaves_a_panel_that_covers_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(130, 30)) as chat:
            await chat.press("escape")
            await chat.settle()
            assert chat.panel.display

    run(script())


@covers("theme")
def test_the_list_of_colours_begins_at_those_that_are_worn(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, theme="nord") as chat:
            await chat.press("f7")
            await chat.until(lambda: chat.dialog)
            assert isinstance(chat.dialog, Picker)
            assert chat.dialog.pointed == "nord"
            await chat.press("enter")
            await chat.settle()
            assert chat.app.theme == "nord"

    run(script())
