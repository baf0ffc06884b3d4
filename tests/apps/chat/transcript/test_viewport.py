"""Which lines are seen, of items whose heights are not what they seemed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.apps.chat.transcript.column import KEPT_ITEMS
from edgellm.apps.chat.transcript.viewport import Viewport
from tests.apps.chat.transcript.columns import Block, column_of, names, seen
from tests.apps.chat.transcript.samples import PLAIN

PAGE = 10
blocks = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=20).map(
    lambda sizes: [Block(key, *size) for key, size in enumerate(sizes)]
)
steps = st.lists(st.integers(-25, 25), max_size=12)
Data = st.DataObject


@settings(deadline=None)
@given(blocks)
def test_the_end_is_seen_at_first(given_blocks: list[Block]) -> None:
    column = column_of(given_blocks)
    assert seen(column, Viewport(column), PAGE) == names(given_blocks)[-PAGE:]


@settings(deadline=None)
@given(blocks)
def test_pages_up_show_every_line_once_and_in_order(given_blocks: list[Block]) -> None:
    column, pages = column_of(given_blocks), list[list[str]]()
    viewport = Viewport(column)
    while not pages or pages[0][0] != "0.0":
        pages.insert(0, seen(column, viewport, PAGE))
        viewport.move(-PAGE, viewport.settle(PAGE))
    (first, *rest), everything = pages, names(given_blocks)
    shown = [name for page in rest for name in page]
    assert shown == everything[len(everything) - len(shown) :]
    assert first == everything[:PAGE]


@settings(deadline=None)
@given(blocks)
def test_pages_down_show_every_line_once_and_in_order(given_blocks: list[Block]) -> None:
    column = column_of(given_blocks)
    viewport = Viewport(column)
    viewport.place = 0, 0
    shown = seen(column, viewport, PAGE)
    while viewport.place is not None:
        before = len(shown)
        viewport.move(PAGE, viewport.settle(PAGE))
        page = seen(column, viewport, PAGE)
        shown += (
            page if viewport.place is not None else page[-(len(names(given_blocks)) - before) :]
        )
    assert shown == names(given_blocks)


@settings(deadline=None)
@given(blocks, steps)
def test_a_move_goes_as_many_lines_as_it_says(given_blocks: list[Block], moves: list[int]) -> None:
    column, everything = column_of(given_blocks), names(given_blocks)
    viewport = Viewport(column)
    last = max(len(everything) - PAGE, 0)
    top = last
    for lines in moves:
        viewport.move(lines, viewport.settle(PAGE))
        top = min(max(top + lines, 0), last)
        assert seen(column, viewport, PAGE) == everything[top : top + PAGE]


@settings(deadline=None)
@given(blocks, st.data())
def test_scrolling_shows_lines_that_follow_each_other(
    given_blocks: list[Block], data: Data
) -> None:
    column, everything = column_of(given_blocks), names(given_blocks)
    viewport = Viewport(column)
    for _ in range(5):
        top = viewport.settle(PAGE)
        line = data.draw(st.integers(0, max(column.rows.total - PAGE, 0)))
        viewport.scroll(top, line, PAGE)
        shown = seen(column, viewport, PAGE)
        start = everything.index(shown[0])
        assert shown == everything[start : start + PAGE]


@settings(deadline=None)
@given(blocks, st.integers(-60, -1), st.data())
def test_what_is_seen_stays_while_other_items_change(
    given_blocks: list[Block], up: int, data: Data
) -> None:
    """An item grows below, one above has other lines, and one more comes."""
    column = column_of(given_blocks)
    viewport = Viewport(column)
    viewport.move(up, viewport.settle(PAGE))
    before = seen(column, viewport, PAGE)
    for block in data.draw(st.permutations(given_blocks)):
        if not set(block.names) & set(before) and viewport.place is not None:
            block.names = [f"new {block.key}.{n}" for n in range(data.draw(st.integers(1, 40)))]
            viewport.change(block.key)
            assert seen(column, viewport, PAGE) == before
    if viewport.place is not None:
        column.add(Block(99, 5, 9))
        assert seen(column, viewport, PAGE) == before


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 8), st.integers(1, 20))
def test_a_fold_above_the_first_line_in_sight_does_not_move_it(
    below: int, first: int, folded: int, after: int
) -> None:
    """The item at the top loses lines above the place, as a turn does when thoughts are folded."""
    block = Block(0, first + folded + below, 1)
    column = column_of([block, Block(1, PAGE + after, 1)])
    viewport = Viewport(column)
    viewport.place = 0, first + folded
    before = seen(column, viewport, PAGE)
    del block.names[first : first + folded]
    viewport.change(0)
    assert seen(column, viewport, PAGE) == before


@settings(deadline=None)
@given(blocks, st.data())
def test_a_revealed_item_is_in_sight(given_blocks: list[Block], data: Data) -> None:
    column = column_of(given_blocks)
    viewport = Viewport(column)
    for _ in range(4):
        index = data.draw(st.integers(0, len(given_blocks) - 1))
        viewport.reveal(index, PAGE, viewport.settle(PAGE))
        own, shown = given_blocks[index].names, seen(column, viewport, PAGE)
        assert set(own) <= set(shown) if len(own) <= PAGE else own[0] == shown[0]


@settings(deadline=None)
@given(blocks, st.integers(-60, 0), st.data())
def test_taking_an_item_out_keeps_the_others_in_sight(
    given_blocks: list[Block], up: int, data: Data
) -> None:
    column = column_of(given_blocks)
    viewport = Viewport(column)
    viewport.move(up, viewport.settle(PAGE))
    before = seen(column, viewport, PAGE)
    gone = data.draw(st.integers(0, len(given_blocks) - 1))
    viewport.take_out(gone)
    column.take_out(gone)
    left = [block for block in given_blocks if block.key != gone]
    shown = seen(column, viewport, PAGE)
    everything = names(left)
    assert shown == everything[everything.index(shown[0]) :][:PAGE] if shown else not left
    stayed = [name for name in before if not name.startswith(f"{gone}.")]
    if viewport.place is not None and stayed:
        assert stayed[0] == shown[0]


def test_few_items_are_kept_and_none_is_laid_out_before_it_is_seen() -> None:
    many = [Block(key, 3, 9) for key in range(2000)]
    column = column_of(many)
    viewport = Viewport(column)
    most = 0
    for _ in range(400):
        top = viewport.settle(PAGE)
        column.drop_unseen(column.rows.at(top)[0], column.rows.at(top + PAGE)[0])
        most = max(most, sum(block.is_kept for block in many))
        viewport.move(-PAGE, top)
    assert most <= KEPT_ITEMS + PAGE
    assert sum(block.layouts for block in many) < 400 * PAGE


def test_an_item_that_grows_out_of_sight_is_kept() -> None:
    """Else all of it would be laid out again for each word."""
    many = [Block(key, 3, 3) for key in range(200)]
    column = column_of(many)
    viewport = Viewport(column)
    viewport.settle(PAGE)
    viewport.place = 0, 0
    for _ in range(60):
        viewport.change(199)
        viewport.move(2 * PAGE, top := viewport.settle(PAGE))
        column.drop_unseen(column.rows.at(top)[0], column.rows.at(top + PAGE)[0])
        assert many[199].is_kept
    assert sum(block.is_kept for block in many) <= KEPT_ITEMS + PAGE


def test_what_is_laid_out_in_another_look_is_forgotten_first() -> None:
    many = [Block(key, 3, 3) for key in range(40)]
    column = column_of(many)
    for index in range(40):
        column.height(index)
    column.wear(PLAIN, 40)
    assert not any(block.is_kept for block in many)
