"""Turns as lines: header, thoughts, text, ending, at every width."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.strip import Strip

from edgellm.apps.chat.transcript.turns import Heading, Item, RuleItem, TurnItem
from tests.apps.chat.transcript.samples import CONTROL, PLAIN, shown, squeezed, texts

DETAILS = "57 tokens · 21.4/s"


def turn(text: str = "words", name: str = "heron-3b", **options: Any) -> TurnItem:
    heading = Heading(
        name, options.pop("details", ""), options.pop("number", 1), options.pop("count", 1)
    )
    return TurnItem(7, options.pop("role", "assistant"), heading, text, **options)


def seen(item: Item, width: int = 50) -> list[str]:
    return shown(item.lines(PLAIN, width))


def acts(lines: list[Strip] | Any) -> dict[str, list[tuple[str, object]]]:
    """What clicks do, by the text that is clicked."""
    return {
        part.text: list(part.style.meta.items())
        for line in lines
        for part in line
        if part.style and part.style.meta
    }


def test_an_answer_is_its_header_its_text_and_a_blank_line() -> None:
    assert seen(turn("# a\nb", details=DETAILS)) == [
        "heron-3b                 57 tokens · 21.4/s  copy",
        "a",
        "",
        "b",
        "",
    ]


def test_what_somebody_wrote_stays_as_it_was_written() -> None:
    item = turn("# a\n\n  *b*\n\tc", "You", role="user", attached=["d.txt (9 characters)"])
    assert seen(item)[1:] == ["+ d.txt (9 characters)", "# a", "", "  *b*", "    c", ""]
    assert item.mark == "user"
    assert item.codes == []


def test_thoughts_are_folded_until_somebody_wants_them() -> None:
    item = turn("b", thoughts="some *thoughts* here")
    assert seen(item)[1:] == ["▸ thought, 3 words", "b", ""]
    item.is_unfolded = True
    assert seen(item)[1:] == ["▾ thought, 3 words", "│ some thoughts here", "", "b", ""]


def test_an_answer_that_has_only_thoughts_is_thinking_until_it_ended() -> None:
    assert seen(turn("", thoughts="a"))[1] == "▸ thinking, 1 words"
    assert seen(turn("", thoughts="a", ending="stopped"))[1] == "▸ thought, 1 words"
    assert seen(turn("", thoughts="a", details=DETAILS))[1] == "▸ thought, 1 words"


@settings(deadline=None)
@given(st.lists(st.text("a \n", max_size=4)))
def test_words_of_thoughts_are_counted_as_they_come(parts: list[str]) -> None:
    item = turn("", thoughts="a")
    for part in parts:
        item.append("", part)
    assert f", {len(('a' + ''.join(parts)).split())} words" in seen(item)[1]


def test_an_ending_stands_below() -> None:
    assert seen(turn("a", ending="stopped by you")) == [
        *seen(turn("a"))[:-1],
        "■ stopped by you",
        "",
    ]


def test_clicks_fold_copy_and_go_to_other_branches() -> None:
    item = turn("```\na\n```", thoughts="b", number=2, count=3)
    assert acts(item.lines(PLAIN, 50)) == {
        " < ": [("branch", -1)],
        " > ": [("branch", 1)],
        "  copy ": [("copy", True)],
        "▸ thought, 1 words": [("fold", True)],
        " copy ": [("code", 0)],
    }
    assert "2/3" in seen(item)[0]
    assert " < " not in acts(turn().lines(PLAIN, 50))


@pytest.mark.parametrize("name", ["heron-3b", "鷺のモデル", "a" * 80])
def test_a_header_is_one_line_in_which_names_and_figures_give_way(name: str) -> None:
    item = turn("b", name, details=DETAILS, number=2, count=3)
    for width in range(1, 80):
        header, body, *_ = item.lines(PLAIN, width)
        assert body.text == "b"
        assert header.cell_length == width
        assert width < 22 or {" < ", " > ", "  copy "} <= acts([header]).keys()
        assert width < 54 or len(name) == 80 or (name in header.text and DETAILS in header.text)


@settings(max_examples=200, deadline=None)
@given(texts, texts, texts, st.integers(1, 60), st.sampled_from(["user", "assistant"]))
def test_any_turn_fits_into_any_width(
    text: str, thoughts: str, more: str, width: int, role: str
) -> None:
    item = turn(text, role=role, thoughts=thoughts, count=2)
    item.is_unfolded = True
    item.append(more, more)
    for line in item.lines(PLAIN, width):
        assert line.cell_length <= max(width, 2)
        assert not CONTROL.search(line.text)


@settings(deadline=None)
@given(texts)
def test_what_somebody_wrote_is_seen_to_the_last_character(text: str) -> None:
    item = turn(text, role="user")
    assert squeezed("".join(seen(item)[1:])) == squeezed(item.text)


def test_a_turn_that_was_forgotten_is_laid_out_again() -> None:
    item = turn("a\n\nb", thoughts="c")
    item.is_unfolded = True
    before = seen(item)
    item.forget()
    assert seen(item) == before
    assert (item.text, item.thoughts) == ("a\n\nb", "c")


@pytest.mark.parametrize("text", ["", "a", "some words " * 300, "line\n" * 80])
def test_an_estimate_is_near_the_truth(text: str) -> None:
    for role in ("user", "assistant"):
        item = turn(text, role=role, ending="b", attached=["c"])
        assert abs(item.estimate(50) - len(item.lines(PLAIN, 50))) <= 0.2 * item.estimate(50) + 3


def test_a_rule_says_something_across_the_width() -> None:
    item = RuleItem(-1, "a cut", "of *these*", "muted")
    assert seen(item, 20) == ["──── a cut ─────────", "of these", ""]
    assert item.text == "of *these*"
    assert RuleItem(-2, "a cut").text == "a cut"


def test_a_rule_with_much_to_say_takes_more_lines() -> None:
    lines = seen(RuleItem(-1, "a\x1b " + "word " * 20), 20)
    assert len(lines) > 4
    assert "\\x1b" in lines[0]
    assert max(map(len, lines)) <= 20
