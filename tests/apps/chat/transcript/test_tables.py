"""Tables as lines: columns that fit, and what becomes of those that do not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from edgellm.apps.chat.transcript.leaves import SAMPLE_ROWS
from tests.apps.chat.transcript.samples import laid_out

cells = st.text("ab 漢*`", max_size=12).map(lambda text: text.strip())
HERONS = "| bird | legs |\n|:--|--:|\n| heron | 2 |\n| *gull* | `2` |\n"


def test_columns_are_as_wide_as_they_need_and_stand_as_they_say() -> None:
    assert laid_out(HERONS + "| 漢字 | x \\| y |\n", 40) == [
        "bird    legs",
        "─────  ─────",
        "heron      2",
        "gull       2",
        "漢字   x | y",
    ]


def test_a_centred_column_has_its_text_in_the_middle() -> None:
    assert laid_out("| a |\n|:-:|\n| wide |\n| bb |", 40) == [" a", "────", "wide", " bb"]


def test_a_table_without_rows_is_its_header() -> None:
    assert laid_out("| a | b |\n|---|---|", 40) == ["a  b", "─  ─"]


def test_the_widest_columns_give_way_first() -> None:
    lines = laid_out("| a | b |\n|---|---|\n| short | many words in this cell |", 20)
    assert lines == ["a      b", "─────  ─────────────", "short  many words in", "       this cell"]


def test_columns_that_are_too_narrow_stand_below_each_other() -> None:
    text = "| a | b | c |\n|---|---|---|\n| some | words | here |\n| and | | more |"
    assert laid_out(text, 12) == [
        "a: some",
        "b: words",
        "c: here",
        "────",
        "a: and",
        "b:",
        "c: more",
    ]


def test_rows_below_the_first_ones_do_not_move_those() -> None:
    rows = "| a | b |\n" * SAMPLE_ROWS
    first = laid_out(f"| name | x |\n|---|---|\n{rows}", 40)
    more = laid_out(f"| name | x |\n|---|---|\n{rows}| a word | b |\n", 40)
    assert more == [*first, "a     b", "word"]


def test_cells_beyond_the_last_column_are_not_lost() -> None:
    assert laid_out("| a |\n|---|\n| b | c | d |", 40)[2] == "b | c | d"


@pytest.mark.parametrize("width", [1, 2, 5, 9])
def test_a_cell_of_one_word_is_cut_into_lines(width: int) -> None:
    lines = laid_out("| a |\n|---|\n| " + "b" * 40 + " |", width)
    assert "".join(lines).count("b") == 40


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(cells, min_size=1, max_size=5), min_size=1, max_size=6), st.integers(1, 80)
)
def test_any_table_fits_and_says_everything(rows: list[list[str]], width: int) -> None:
    bare = [[cell.replace("*", "").replace("`", "") for cell in row] for row in rows]
    header = "|" + "|".join(f"h{number}" for number in range(len(bare[0]))) + "|\n"
    text = header + "|---" * len(bare[0]) + "|\n" + "".join(f"|{'|'.join(row)}|\n" for row in bare)
    lines = laid_out(text, width)
    assert max(map(cell_len, lines)) <= max(width, 2)
    seen = "".join(lines)
    for char in "ab漢" if width > 1 else "ab":
        assert seen.count(char) == "".join(map("".join, bare)).count(char)
