"""Markdown as lines: whole or in pieces, whatever a model says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from edgellm.apps.chat.transcript.markdown import LINE_CHARACTERS, MarkdownLines
from tests.apps.chat.transcript.samples import (
    CONTROL,
    NESTED,
    PLAIN,
    copied_numbers,
    laid_out,
    pieces,
    shown,
    squeezed,
    texts,
)

LATER = {
    "a definition": "[a] and [b][c]\n\n[a]: http://d.e\n\n[c]: http://f.g 'title'",
    "a list that becomes loose": "- a\n- b\n- c\n\n- d\n\n  e\n- f",
    "a heading by its underline": "a *b*\nc\n===\nd\n---\ne",
    "an underline that is a rule": "a\n\n---\nb\n- - -\n---",
    "a table": "a | b\n--|--\n1 | 22\n333 | 4\n\n| a |\n|---|",
    "no table after all": "a | b\n--|-x\n1 | 2",
    "a table's row that is wider": "|a|b|\n|-|-|\n"
    + "|1|2|\n" * 20
    + "|a wide cell|and another|\n",
    "a fence without an end": "a\n```python\ndef f():\n    return 1\n\n\n",
    "a fence in a list": "1. a\n   ```\n   b\n\tc\n   ```\n2. d\n   > ~~~x\n   > e\nf",
    "indented code": "a\n\n    b\n\n\n      c\n\nd\n    e",
    "line ends of other systems": "# a\r\n\r\n- b\r\n- c\r\n\r\n```\r\nd\r\n```\r\n",
    "a long paragraph": "some *words* and `code` " * 300,
    "a paragraph of many lines": "a line of *verse\n" * 300 + "===\n",
    "a long row of code": "```js\n" + "var a=1;" * 700 + "\n```\nb",
    "many rows of code": "```py\n" + "def f():\n    '''a'''\n\n" * 60,
}


@pytest.mark.parametrize("size", [1, 7, 61])
@pytest.mark.parametrize("name", LATER)
def test_a_text_in_pieces_has_the_lines_of_the_whole(name: str, size: int) -> None:
    text, growing = LATER[name], MarkdownLines()
    for number, start in enumerate(range(0, len(text), size)):
        growing.append(text[start : start + size])
        if len(text) < 300 or number % 61 < 1 + size // 10:  # not at each step of the long ones
            growing.lines(PLAIN, 40)
    assert growing.lines(PLAIN, 40) == MarkdownLines(text).lines(PLAIN, 40)
    assert growing.codes == MarkdownLines(text).codes


@settings(deadline=None, max_examples=150)
@given(st.lists(pieces, max_size=25), st.integers(1, 50))
def test_any_text_in_any_pieces_has_the_lines_of_the_whole(parts: list[str], width: int) -> None:
    growing = MarkdownLines()
    for part in parts:
        growing.append(part)
        growing.lines(PLAIN, width)
    whole = MarkdownLines("".join(parts))
    assert growing.lines(PLAIN, width) == whole.lines(PLAIN, width)


def assert_fits(text: str, width: int) -> None:
    """No line is wider, but for a character of two cells, or holds a control character."""
    markdown = MarkdownLines(text)
    lines = markdown.lines(PLAIN, width)
    for line in lines:
        assert line.cell_length <= max(width, 2)
        assert cell_len(line.text) <= max(width, 2)
        assert not CONTROL.search(line.text)
    assert copied_numbers(lines) == list(range(len(markdown.codes)))


@settings(max_examples=500, deadline=None)
@given(texts, st.integers(1, 200))
def test_any_text_fits_into_any_width(text: str, width: int) -> None:
    assert_fits(text, width)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("width", [1, 2, 17, 200])
def test_deep_and_long_texts_fit_into_any_width(name: str, width: int) -> None:
    assert_fits(NESTED[name], width)


@pytest.mark.parametrize(
    "text", ["\u200d\u200d1.", "\u200d1.", "*a\u200d*b", "漢\ufe0f\u200d\u200d漢"]
)
@pytest.mark.parametrize("width", [1, 2, 3])
def test_joiners_that_join_nothing_fit(text: str, width: int) -> None:
    assert_fits(text, width)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(pieces, st.sampled_from(["W", "W ", "W|", "W\n"])), max_size=30))
def test_every_word_is_seen(parts: list[str]) -> None:
    """But for what a fence says of its block, of which the first word is the language."""
    words = (f"w{number}x" for number in range(len(parts)))
    text = "".join(part.replace("W", next(words)) if "W" in part else part for part in parts)
    seen = squeezed("".join(laid_out(text, 160)))
    fences = "".join(line for line in text.split("\n") if "```" in line or "~~~" in line)
    for word in re.findall(r"w\d+x", text):
        assert word in seen or word in fences


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[a *b*](http://c.d)", ["a b (http://c.d)"]),
        ("**[a](b) c**", ["a (b) c"]),
        ("[a ![b](c) d](e)", ["a image: b (c) d (e)"]),
        ("![*a* ![b](c)](d)", ["image: a image: b (c) (d)"]),
        ("<http://a.b> <c@d.e>", ["http://a.b c@d.e"]),
        ("[http://a.b](http://a.b)", ["http://a.b"]),
        ("[a](http://b.c/ü 'title')", ["a (http://b.c/%C3%BC)"]),
        ("<b>a</b> &amp; &lt;", ["<b>a</b> & <"]),
        ("a&#27;[31m&#x202e;b&#10;c", ["a\ufffd[31m\\u202eb", "c"]),
        ("a\\\nb  \nc\nd", ["a", "b", "c", "d"]),
        ("a\tb", ["a   b"]),
        ("\x1b]0;a\x07b", ["\\x1b]0;a\\x07b"]),
        ("~~a~~ __b__ `c  d`", ["a b c  d"]),
        ("漢字漢字 " * 3, ["漢字漢字 漢字漢字 漢字漢字"]),
    ],
)
def test_a_paragraph_says_what_was_meant(text: str, lines: list[str]) -> None:
    assert laid_out(text) == lines


def test_blocks_are_laid_out_below_each_other() -> None:
    text = "# a\nb\n- c\n  1. d\n\n     e\n> f\n>\n> - g\n***\n    h\n"
    assert laid_out(text, 20) == [
        "a",
        "",
        "b",
        "",
        " • c",
        "    1. d",
        "",
        "       e",
        "",
        "▌ f",
        "▌",
        "▌  • g",
        "",
        "─" * 20,
        "",
        "               copy",
        " h",
    ]


def test_margins_take_half_of_a_line_at_most() -> None:
    lines = laid_out("> > > - - a b c d", 8)
    assert lines == [" ◦ a b c", "   d"]


def test_codes_are_as_they_were_written() -> None:
    text = "```c\n\tint a;\n\n\n```\n- ~~~\n  b  \n\n   c\n\n> ```\n> d\n\n    e\n\n\n    f\n```"
    assert MarkdownLines(text).codes == ["\tint a;", "b  \n\n c", "d", "e\n\n\nf", ""]


def test_the_code_of_a_long_block_is_whole() -> None:
    rows = [f"{'    ' if number % 3 else ''}row {number}" for number in range(500)]
    rows[100] = "a=1;" * 3 * LINE_CHARACTERS
    assert MarkdownLines("```\n" + "\n".join(rows) + "\n```").codes == ["\n".join(rows)]


def test_another_width_or_look_lays_out_anew() -> None:
    text = MarkdownLines("some words and more")
    assert shown(text.lines(PLAIN, 40)) == ["some words and more"]
    assert shown(text.lines(PLAIN, 10)) == ["some words", "and more"]


def test_emphasis_reaches_as_far_as_a_long_paragraph_goes_on() -> None:
    """A paragraph is cut after 2000 characters, and what was open there is shown."""
    short, long = "*" + "a " * 400 + "b*", "*" + "a " * 3000 + "b*"
    assert "*" not in "".join(laid_out(short))
    assert "".join(laid_out(long)).count("*") == 2
