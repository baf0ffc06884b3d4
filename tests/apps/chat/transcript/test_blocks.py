"""The structure that is read line by line, compared with what markdown-it finds in whole texts."""

import re
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from edgellm.apps.chat.transcript.blocks import Blocks
from edgellm.apps.chat.transcript.pieces import Code, Piece, Rows, Rule, Words

# Left out on both sides: HTML, and definitions of references, which are text here.
REFERENCE = MarkdownIt("commonmark", {"html": False, "maxNesting": 1000})
REFERENCE.enable("table").disable("reference")
WORDS = ("a", "b c", "`", "*x*", "\\", "[a]: u", "[a](b)", "\n", "\n", "\n\n", " ", "  ")
CONTAINERS = ("> ", ">", "- ", "-", "* ", "+ ", "1. ", "2) ", "10. ")
LEAVES = ("```", "~~~", "````", "```py\n", "# ", "## ", "#", "---", "***", "===", "=", "---\n")
INDENTS = ("    ", "\t", "- a\n", "- ```\n", "```", "~~~\n", "# ", "---", "a", "b c", "\n", "  ")
TABLES = ("|", "|", "|-|", "|:-:|", "--:", "---", "|---|:-:|\n", "| a | b |\n", "`|`", "\\", " ")
LONE_DASH = re.compile(r"^[> ]*-[ \t]*$", re.MULTILINE)  # below a paragraph, it makes a heading
Found = tuple[Any, ...]


def joined(*pieces: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(sum(pieces, ())), max_size=16).map("".join)


def read(text: str) -> list[Piece]:
    blocks = Blocks()
    lines = [piece for line in text.split("\n") for piece in blocks.read(line)]
    return [*lines, *blocks.finish()]


def ours(text: str) -> list[Found]:
    """What each block says, in order; the parts of a table are rows."""
    found: list[Found] = []
    for piece in read(text):
        is_quoted = piece.place.is_quoted
        match piece:
            case Words(text="", level=0):  # an empty item
                pass
            case Words():
                found.append((piece.level, stripped(piece.text), is_quoted))
            case Code():
                found.append(("code", filled(piece.rows), piece.language, is_quoted))
            case Rule():
                found.append(("rule", is_quoted))
            case Rows():
                header = [piece.columns.header] if piece.is_first else []
                found += [("row", row[:-1], is_quoted) for row in (*header, *piece.rows)]
    return found


def theirs(text: str) -> list[Found]:
    found: list[Found] = []
    quotes, level, cells = 0, 0, list[str]()
    is_in_table = False
    for token in REFERENCE.parse(text):
        kind = token.type
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(kind, 0)
        if kind in ("heading_open", "paragraph_open"):
            level = int(token.tag[1:] or 0)
        elif kind in ("table_open", "table_close"):
            is_in_table = kind == "table_open"
        elif kind == "inline" and is_in_table:
            cells.append(token.content)
        elif kind == "inline":
            found.append((level, stripped(token.content), quotes > 0))
        elif kind == "tr_close":
            found.append(("row", tuple(cells[:-1]), quotes > 0))
            cells = []
        elif kind in ("fence", "code_block"):
            rows = filled(token.content.split("\n"))
            found.append(("code", rows, "".join(token.info.split()[:1]), quotes > 0))
        elif kind == "hr":
            found.append(("rule", quotes > 0))
    return found


def stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


def filled(rows: Any) -> list[str]:
    """Rows of code up to the last that is not empty."""
    lines = [row.rstrip() for row in rows]
    while lines and not lines[-1]:
        del lines[-1]
    return lines


@settings(deadline=None, max_examples=1200)
@given(joined(WORDS, CONTAINERS, LEAVES))
def test_quotes_lists_and_leaves_are_those_of_markdown_it(text: str) -> None:
    assume("    " not in text)  # how deep code in lists and quotes is, it tells otherwise
    assume(not LONE_DASH.search(text))
    assert ours(text) == theirs(text)


@settings(deadline=None, max_examples=600)
@given(joined(INDENTS))
def test_indented_code_is_that_of_markdown_it(text: str) -> None:
    assert ours(text) == theirs(text)


@settings(deadline=None, max_examples=600)
@given(joined(TABLES, ("a", "b c", "\n", "\n\n")))
def test_tables_are_those_of_markdown_it(text: str) -> None:
    """But for the last cell of a row, which has what GitHub drops where there are too many."""
    assume("    " not in text)
    assert ours(text) == theirs(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("- a\n   - b\n\n  c", [(0, "a", False), (0, "b", False), (0, "c", False)]),
        ("> a\nb\n> c", [(0, "a\nb\nc", True)]),
        ("> a\n\nb", [(0, "a", True), (0, "b", False)]),
        ("> > a\n> b", [(0, "a\nb", True)]),
        ("    > a", [("code", ["> a"], "", False)]),
        ("> > a\n\t- b", [(0, "a\n- b", True)]),
        ("-\n\n  a", [(0, "a", False)]),
        (
            "1.  a\n\n\n    b\n\n        c",
            [(0, "a", False), (0, "b", False), ("code", ["c"], "", False)],
        ),
        ("- ```\n  a\n\tb\n  ```", [("code", ["a", "  b"], "", False)]),
        ("> ```\n> a\nb", [("code", ["a"], "", True), (0, "b", False)]),
        ("a\n2. b\n1. c", [(0, "a\n2. b", False), (0, "c", False)]),
        ("a\n-", [(0, "a\n-", False)]),
        ("a\n--", [(2, "a", False)]),
        ("- - -\n***", [("rule", False), ("rule", False)]),
        ("a | b\n--|--\n> c | d", [("row", ("a",), False), (0, "c | d", True)]),
        ("[a]\n\n[a]: http://b.c", [(0, "[a]", False), (0, "[a]: http://b.c", False)]),
    ],
)
def test_structure_is_as_the_specification_says(text: str, found: list[Found]) -> None:
    assert ours(text) == found


def margins(text: str) -> list[tuple[str, str]]:
    """(what stands before a piece, whether there is a blank line above it), in order."""
    places = [piece.place for piece in read(text)]
    return [
        ("".join(margin for margin, _ in place.first), "" if place.gap is None else "gap")
        for place in places
    ]


def test_lists_are_numbered_on_from_their_first_number() -> None:
    assert [first for first, _ in margins("8. a\n8. b\n8. c")] == [" 8. ", " 9. ", "10. "]


def test_bullets_tell_how_deep_they_are() -> None:
    firsts = [first for first, _ in margins("- a\n  - b\n    - c\n- - d")]
    assert firsts == [" • ", "    ◦ ", "       ▪ ", " •  ◦ "]


def test_a_blank_line_within_a_list_is_one_where_it_was_written() -> None:
    gaps = [gap for _, gap in margins("a\n- b\n- c\n\n- d\n  e\n\n  f\n\n  - g\n- h\n\ni")]
    assert gaps == ["", "gap", "", "gap", "gap", "gap", "", "gap"]


def test_an_empty_item_has_its_marker() -> None:
    assert [first for first, _ in margins("-\n- a\n1)")] == [" • ", " • ", " 1) "]


def test_marks_below_the_deepest_place_are_text() -> None:
    (words,) = read("> " * 100 + "a")
    assert isinstance(words, Words)
    assert words.text.count(">") + len(words.place.rest) == 100
