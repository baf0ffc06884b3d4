"""Choosing one of many."""

import pytest
from rich.text import Text
from textual.widgets import OptionList

from edgellm.apps.chat.dialogs.picker import Choice, Picker
from tests.support.dialogs import asking
from tests.support.pilots import run

BIRDS = [Choice(name, Text(name)) for name in ("heron", "egret", "stork")]


def test_a_search_in_vain_is_not_a_list_with_nothing_in_it() -> None:
    async def script() -> None:
        async with asking(Picker("Which?", BIRDS, empty="No birds yet.")) as asked:
            await asked.press(*"gu[l")
            assert asked.rows == ["Nothing has “gu[l”."]
            await asked.press("enter")
            assert asked.answers == []
            await asked.press("ctrl+u", *"st", "enter")
            await asked.until(lambda: asked.answers == ["stork"])

    run(script())


def test_a_list_with_nothing_in_it_says_so_whatever_is_typed() -> None:
    async def script() -> None:
        nothing: list[Choice[str]] = []
        async with asking(Picker("Which?", nothing, empty="No birds yet.")) as asked:
            assert asked.rows == ["No birds yet."]
            await asked.press(*"st", "down", "enter")
            assert asked.rows == ["No birds yet."]
            assert asked.answers == []

    run(script())


@pytest.mark.parametrize("has_search", [True, False])
@pytest.mark.parametrize(("key", "taken"), [("down", "heron"), ("up", "stork")])
def test_where_nobody_has_asked_an_enter_takes_nothing(
    has_search: bool, key: str, taken: str
) -> None:
    async def script() -> None:
        dialog = Picker("Which?", BIRDS, has_search=has_search, pointed=None)
        async with asking(dialog) as asked:
            await asked.press("enter")
            assert (asked.answers, asked.app.screen, dialog.pointed) == ([], dialog, None)
            await asked.press(key, "enter")
            await asked.until(lambda: asked.answers == [taken])

    run(script())


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_long_row_is_cut_where_it_says_so_and_wraps_else(is_cut: bool) -> None:
    async def script() -> None:
        row = Text("A heron that stands very still. " * 10 + "\nand waits", no_wrap=is_cut)
        choices = [Choice("heron", row), Choice("other", Text("Another bird"))]
        async with asking(Picker("Which?", choices), (60, 20)) as asked:
            rows = asked.app.screen.query_one(OptionList)
            await asked.until(lambda: rows.size.height > 2)
            seen = [rows.render_line(y).text.rstrip() for y in range(rows.size.height)]
            assert seen[0].endswith("…") == is_cut
            assert seen.index("and waits") == (1 if is_cut else 7)

    run(script())
