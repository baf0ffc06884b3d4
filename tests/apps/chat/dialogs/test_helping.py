"""The page of keys in any terminal."""

import pytest
from rich.cells import cell_len
from textual.containers import VerticalScroll
from textual.widgets import Static

from edgellm.apps.chat.commands.table import COMMANDS
from edgellm.apps.chat.dialogs.helping import HelpDialog
from edgellm.apps.chat.keys import default_keys
from tests.support.dialogs import Asking, asking
from tests.support.pilots import run

SIZES = ((60, 20), (80, 24), (160, 45))
KEYS = {**default_keys(), "end": "f9", "regenerate": "f10", "turn.copy": "ctrl+x"}
HEADINGS = {"", "Writing", "What was said", *(command.group for command in COMMANDS)}


async def page_of(asked: Asking[None]) -> list[str]:
    """Its lines, once it is drawn with each of them in a line."""
    page = asked.app.screen.query_one("#page", Static)
    await asked.until(lambda: page.content and page.size.height == len(lines_of(page)))
    return lines_of(page)


def lines_of(page: Static) -> list[str]:
    return str(page.content).split("\n")


@pytest.mark.parametrize("size", SIZES)
def test_no_line_of_the_page_is_cut_or_wrapped_by_the_terminal(size: tuple[int, int]) -> None:
    async def script() -> None:
        async with asking(HelpDialog(KEYS), size) as asked:
            lines = await page_of(asked)
            page = asked.app.screen.query_one("#page", Static)
            scroll = asked.app.screen.query_one(VerticalScroll)
            assert max(map(cell_len, lines)) <= page.size.width
            await asked.until(lambda: page.size.width <= scroll.size.width)

    run(script())


@pytest.mark.parametrize("size", SIZES)
def test_what_takes_more_lines_is_indented_and_whole(size: tuple[int, int]) -> None:
    async def script() -> None:
        async with asking(HelpDialog(KEYS), size) as asked:
            lines = await page_of(asked)
            assert all(line.startswith("  ") for line in lines if line not in HEADINGS)
            words = " ".join(" ".join(lines).split())
            assert all(command.title in words for command in COMMANDS)

    run(script())


@pytest.mark.parametrize("size", SIZES)
def test_the_keys_are_those_of_the_file(size: tuple[int, int]) -> None:
    async def script() -> None:
        async with asking(HelpDialog(KEYS), size) as asked:
            lines = await page_of(asked)
            begun = [" ".join(line.split()) for line in lines]
            assert "F9 to the end" in begun
            assert any(line.startswith("F10 (r) /regenerate") for line in begun)
            assert any(line.startswith("Ctrl+Y (Ctrl+X) /copy") for line in begun)

    run(script())


def test_the_page_is_drawn_anew_where_the_width_changes() -> None:
    async def script() -> None:
        async with asking(HelpDialog(KEYS), (160, 45)) as asked:
            before = len(await page_of(asked))
            await asked.pilot.resize_terminal(60, 20)
            page = asked.app.screen.query_one("#page", Static)
            await asked.until(lambda: len(lines_of(page)) > before)
            assert max(map(cell_len, await page_of(asked))) <= page.size.width <= 60

    run(script())
