"""What one append costs, counted in calls: no more however long the text is already."""

import sys
from collections.abc import Callable

import pytest

from edgellm.apps.chat.transcript.markdown import MarkdownLines
from edgellm.apps.chat.transcript.turns import Heading, TurnItem
from tests.apps.chat.transcript.samples import PLAIN

APPENDED = 40  # characters
WINDOW = 70  # appends that are counted together, as each costs what is open then
ROW = "    value_{0} = call({0}, 'text')  # note\n"
LONG = {
    "a fence of 3000 lines": "```python\n" + "".join(map(ROW.format, range(3000))),
    "a fence in a quote in a list": "- a\n  > ~~~\n" + "  > some code\n" * 3000,
    "a list of 500 items": "".join(
        f"- item {i} with *some* words and `code`\n" for i in range(500)
    ),
    "a list in a list": "1. a\n" + "   - item with *some* words and `code`\n" * 500,
    "loose items": "".join(f"{i}. an item\n\n   and a paragraph of it\n\n" for i in range(500)),
    "a paragraph of 50,000 characters": "word *emphasis* and `code` here " * 1600,
    "verse": "a line of verse, and another *one*\n" * 1500,
    "a table of 300 rows": "| a | b |\n|---|--:|\n" + "| one row | with a few more words |\n" * 300,
    "a row of 50,000 characters": "```js\n" + "var a=1;" * 6250,
    "a quote": "> some words in a line\n" * 2000,
    "many paragraphs": "some words in a line\n\n" * 2000,
}


def calls(work: Callable[[], object]) -> int:
    """How many functions the work calls."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def calls_at(text: str, start: int, width: int = 80) -> int:
    """Of the appends in a window from there on."""
    markdown = MarkdownLines(text[:start])
    markdown.lines(PLAIN, width)

    def grow() -> None:
        for at in range(start, start + WINDOW * APPENDED, APPENDED):
            markdown.append(text[at : at + APPENDED])
            markdown.lines(PLAIN, width)

    return calls(grow)


@pytest.mark.parametrize("name", LONG)
def test_an_append_calls_as_much_at_the_end_as_at_the_beginning(name: str) -> None:
    text = LONG[name]
    early, late = len(text) // 8, len(text) - WINDOW * APPENDED
    assert early + WINDOW * APPENDED <= late, "two windows"
    assert calls_at(text, late) < 1.4 * calls_at(text, early)


def test_a_turn_with_long_thoughts_costs_the_same_at_their_end() -> None:
    def appending(length: int) -> int:
        item = TurnItem(1, "assistant", Heading("a model"), "", thoughts="some words\n\n" * length)
        item.is_unfolded = True
        item.lines(PLAIN, 80)

        def grow() -> None:
            for _ in range(20):
                item.append("", "more words of it, ")
                item.lines(PLAIN, 80)

        return calls(grow)

    assert appending(2000) < 1.4 * appending(20)
