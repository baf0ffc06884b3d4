"""Styles: that each part of a text wears its own, and nothing goes bare."""

import pytest
from rich.style import Style

from edgellm.apps.chat.transcript.look import PARTS, Look
from edgellm.apps.chat.transcript.markdown import MarkdownLines
from edgellm.apps.chat.transcript.turns import Heading, Item, RuleItem, TurnItem

BASE = Style(color="#000001")
WORN = {part: Style(color=f"#0000{number:02x}") for number, part in enumerate(PARTS, 16)}
LOOK = Look.of(BASE, WORN, dark=True, ansi=False)
TEXT = """# one
a *b* **c** ~~d~~ `e` [f](http://g.h) <http://i.j> ![k](l)
##### two
- m
  1. n
> o

| p | q |
|---|---|
| r | s |
***
"""


def worn(text: str) -> dict[str, Style]:
    """The style of each part of the lines, by its text."""
    lines = MarkdownLines(text).lines(LOOK, 60)
    return {part.text.strip(): part.style for line in lines for part in line if part.style}


@pytest.mark.parametrize(
    ("text", "part", "manner"),
    [
        ("one", "heading", Style(underline=True)),
        ("two", "heading", Style(italic=True)),
        ("a", "", Style()),
        ("b", "", Style(italic=True)),
        ("c", "", Style(bold=True)),
        ("d", "", Style(strike=True)),
        ("e", "inline-code", Style()),
        ("f", "link", Style()),
        ("(http://g.h)", "muted", Style()),
        ("http://i.j", "link", Style()),
        ("image:", "muted", Style()),
        ("k", "link", Style()),
        ("•", "name", Style()),
        ("1.", "name", Style()),
        ("▌", "muted", Style()),
        ("o", "thought", Style()),
        ("p", "", Style(bold=True)),
        ("─  ─", "muted", Style()),
        ("r", "", Style()),
        ("─" * 60, "muted", Style()),
    ],
)
def test_each_part_wears_its_own_style(text: str, part: str, manner: Style) -> None:
    assert worn(TEXT)[text] == BASE + (WORN[part] if part else Style()) + manner


def test_emphasis_adds_up() -> None:
    assert worn("***a `b`***")["b"] == BASE + Style(bold=True, italic=True) + WORN["inline-code"]
    assert worn("# a *b*")["b"] == BASE + WORN["heading"] + Style(underline=True, italic=True)


def test_nothing_goes_without_a_style() -> None:
    answer = TurnItem(1, "assistant", Heading("a", "b", 1, 2), TEXT, thoughts=TEXT, ending="c")
    answer.is_unfolded = True
    question = TurnItem(2, "user", Heading("a"), "some words " * 20, attached=["d"])
    items: list[Item] = [answer, question, RuleItem(3, "some words " * 20, TEXT)]
    for item in items:
        for line in item.lines(LOOK, 60):
            assert all(part.style and part.style.color for part in line if part.text.strip())


def test_thoughts_wear_their_own_colour() -> None:
    item = TurnItem(1, "assistant", Heading("a"), "b", thoughts="some `code`")
    item.is_unfolded = True
    styles = {part.text.strip(): part.style for line in item.lines(LOOK, 60) for part in line}
    assert styles["some"] == BASE + WORN["thought"]
    assert styles["code"] == BASE + WORN["thought"] + WORN["inline-code"]
    assert styles["b"] == BASE


def test_looks_are_the_same_when_their_styles_are() -> None:
    again = Look.of(Style(color="#000001"), dict(WORN), dark=True, ansi=False)
    assert again == LOOK
    assert Look.of(BASE, WORN, dark=False, ansi=False) != LOOK
    assert Look.of(BASE, {**WORN, "link": Style()}, dark=True, ansi=False) != LOOK
