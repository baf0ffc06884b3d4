"""Blocks of code: what they show, what copies them, and what they never cost."""

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from edgellm.apps.chat.transcript import code
from edgellm.apps.chat.transcript.code import COLOURED_CHARACTERS, CodePainter
from edgellm.apps.chat.transcript.inline import Line
from edgellm.apps.chat.transcript.leaves import CODE_CHARACTERS, CODE_ROWS
from edgellm.apps.chat.transcript.look import PARTS, Look
from edgellm.apps.chat.transcript.markdown import MarkdownLines
from edgellm.apps.chat.transcript.pieces import Code, Place
from tests.apps.chat.transcript.samples import CONTROL, PLAIN, copied_numbers, laid_out

WORN = {part: Style() for part in PARTS} | {"code": Style(color="#ffffff", bgcolor="#222222")}
PYTHON = "def f(x):\n    return 'text'  # note"


def painted(text: str, language: str = "python", width: int = 40, look: Look = PLAIN) -> list[Line]:
    block = Code(Place(), 3, language, tuple(text.split("\n")))
    return list(CodePainter(look).lines(block, width))


def texts(lines: list[Line]) -> list[str]:
    return ["".join(segment.text for segment in line) for line in lines]


def colours(lines: Sequence[Iterable[Segment]]) -> dict[str, Color | None]:
    """Of each token by its text."""
    return {part.text: part.style.color if part.style else None for line in lines for part in line}


def test_a_block_has_a_header_and_its_rows_in_full_lines() -> None:
    assert texts(painted(PYTHON)) == [
        " python                            copy ",
        " def f(x):                              ",
        "     return 'text'  # note              ",
    ]


@pytest.mark.parametrize("width", [1, 2, 3, 6, 7, 12])
def test_the_button_is_there_at_any_width(width: int) -> None:
    header = painted("a", width=width)[0]
    assert sum(segment.cell_length for segment in header) == width
    (button,) = [part for part in header if part.style and part.style.meta]
    assert button.text == " copy "[:width]
    assert button.style is not None
    assert button.style.meta == {"code": 3}


@pytest.mark.parametrize(
    ("dark", "ansi"), [(True, False), (False, False), (True, True), (False, True)]
)
def test_each_kind_of_theme_colours_code_and_keeps_its_ground(dark: bool, ansi: bool) -> None:
    lines = painted(PYTHON, look=Look.of(Style(), WORN, dark=dark, ansi=ansi))
    found = colours(lines)
    assert len({found[token] for token in ("def", "text", "# note")}) == 3
    for line in lines:
        assert all(part.style and part.style.bgcolor == WORN["code"].bgcolor for part in line)
    if ansi:
        numbers = {colour.number for colour in found.values() if colour and colour.number}
        assert max(numbers) < 16


def test_a_language_that_nobody_knows_has_no_colours() -> None:
    assert len(set(colours(painted(PYTHON, "klingon")[1:]).values())) == 1


def test_wide_characters_wrap_within_the_width() -> None:
    assert texts(painted("漢字漢字 x", "", 8))[1:] == [" 漢字漢 ", " 字 x   "]


def test_tabs_stand_at_every_fourth_place() -> None:
    assert texts(painted("\ta\n\u200bab\tc", "make", 14))[1] == "     a        "
    assert texts(painted("ab\tc", "", 14))[1] == " ab  c        "


def test_what_a_lexer_would_take_away_stays() -> None:
    assert "\ufeffa = 1" in texts(painted("\ufeffa = 1", "python"))[1]


def test_rows_that_are_too_long_have_no_colours() -> None:
    """Some lexers take seconds for them; and they would have to do it for each word."""
    short, long = (
        "x = 1  #" + "a" * (COLOURED_CHARACTERS - 8),
        "x = 1  #" + "a" * COLOURED_CHARACTERS,
    )
    assert len(set(colours(painted(short, width=400)[1:]).values())) > 1
    assert len(set(colours(painted(long, width=400)[1:]).values())) == 1


class Listening:
    """A lexer that notes what it is given."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def get_tokens(self, text: str) -> list[tuple[tuple[str, ...], str]]:
        self.given.append(text)
        return [((), text)]


@pytest.mark.parametrize(
    "row", ["x" + " " * 298 + "y", "\n" * 400 + "a", " " * 290 + "\n", "(" * 300, "/*" * 300, "a"]
)
def test_lexers_get_little_at_a_time(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their time grows with the square of what comes again and again: spaces, or ends of lines."""
    lexer = Listening()
    monkeypatch.setattr(code, "_lexer", lambda language: lexer)
    MarkdownLines("```c\n" + f"{row}\n" * 40).lines(PLAIN, 400)
    assert max(map(len, lexer.given), default=0) <= CODE_CHARACTERS + 2 * CODE_ROWS
    assert not any("\n" * 2 * CODE_ROWS in text or " " * 300 in text for text in lexer.given)


@settings(deadline=None, max_examples=150)
@given(
    st.text(st.one_of(st.characters(), st.sampled_from("\n \t'\"(){}#/*\\<>`$")), max_size=200),
    st.sampled_from(
        ["python", "c++", "html", "bash", "json", "rust", "yaml", "sql", "diff", "tex"]
    ),
)
def test_no_code_in_any_language_is_lost(text: str, language: str) -> None:
    markdown = MarkdownLines("~~~" + language + "\n" + text.replace("~", "") + "\n~~~")
    lines = markdown.lines(PLAIN, 60)
    (whole,) = markdown.codes
    shown = "".join("".join(line.text.split()) for line in lines[1:])
    assert shown == "".join(whole.split())
    assert not any(CONTROL.search(line.text) for line in lines)


def test_each_block_has_its_number_wherever_it_stands() -> None:
    text = "```\na\n```\n- ~~~\n  b\n  ~~~\n  > ```\n  > c\n\n      d\n\n1. - ```\n     e\n"
    markdown = MarkdownLines(text)
    assert copied_numbers(markdown.lines(PLAIN, 50)) == [0, 1, 2, 3, 4]
    assert markdown.codes == ["a", "b", "c", "d", "e"]


def test_a_long_block_is_cut_before_a_row_without_indent() -> None:
    """So that a string over several rows is seldom torn, and all after it coloured wrongly."""
    function = "def f():\n    '''\n    text\n    '''\n    return 1\n\n"
    lines = MarkdownLines("```python\n" + function * 40 + "\n```").lines(PLAIN, 40)
    returns = [colours([line])["return"] for line in lines if "return" in colours([line])]
    assert len(returns) == 40
    assert len(set(returns)) == 1
    assert len(lines) > 3 * CODE_ROWS


def test_a_block_that_is_still_open_is_shown() -> None:
    assert laid_out("```js\na\n\n", 12) == [" js    copy", " a"]
    assert laid_out("```", 12) == ["       copy", ""]
