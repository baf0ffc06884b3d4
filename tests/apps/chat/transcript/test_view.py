"""The transcript on a screen: scrolling, the cursor, clicks, selecting, themes."""

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot
from textual.selection import SELECT_ALL

from edgellm.apps.chat.transcript.column import KEPT_ITEMS
from edgellm.apps.chat.transcript.turns import Heading, Item, TurnItem
from edgellm.apps.chat.transcript.view import Transcript
from tests.apps.chat.transcript.columns import Block, names
from tests.apps.chat.transcript.screens import (
    EDGE_CELLS,
    Screen,
    drag,
    drag_scrollbar,
    showing,
    wheel,
    where,
)
from tests.support.pilots import run, wait_until

PAGE = 20
Scroll = Callable[[Pilot[None], Screen], Awaitable[None]]


def blocks(count: int) -> list[Block]:
    """Of one to seven lines, which are estimated as one to nine."""
    return [Block(key, 1 + key * 5 % 7, 1 + key * 7 % 9) for key in range(count)]


def turn(key: int, text: str, **options: str) -> TurnItem:
    return TurnItem(key, "assistant", Heading(f"model {key}", "", 1, 2), text, **options)


async def by_page(pilot: Pilot[None], app: Screen) -> None:
    await pilot.press("pageup", "pageup")


async def by_line(pilot: Pilot[None], app: Screen) -> None:
    await pilot.press("up", "up", "up")


async def by_wheel(pilot: Pilot[None], app: Screen) -> None:
    await wheel(pilot, app, -3)


async def by_scrollbar(pilot: Pilot[None], app: Screen) -> None:
    await drag_scrollbar(pilot, app, PAGE - 1, 15)


def test_the_end_is_followed_while_text_comes() -> None:
    async def script() -> None:
        items: list[Item] = [*blocks(50), live := turn(50, "")]
        async with showing(items) as (app, pilot):
            for number in range(60):
                live.append(f"line {number}" if number % 3 else "\n\n")
                app.transcript.changed(50)
                await pilot.pause()
                assert number % 3 == 0 or f"line {number}" in app.seen[-2]
                assert app.drawn == app.seen
            assert app.transcript.follows_end

    run(script())


@pytest.mark.parametrize("scroll", [by_page, by_line, by_wheel, by_scrollbar])
def test_what_somebody_scrolled_to_stays_while_text_comes(scroll: Scroll) -> None:
    async def script() -> None:
        live = turn(50, "some words\n\n" * 30)
        items: list[Item] = [*blocks(50), live]
        async with showing(items) as (app, pilot):
            await scroll(pilot, app)
            before = app.seen
            assert not app.transcript.follows_end
            for number in range(30):
                live.append(f"line {number}\n\n")
                app.transcript.changed(50)
                await pilot.pause()
                assert app.seen == before

    run(script())


@pytest.mark.parametrize("scroll", [by_page, by_line, by_wheel, by_scrollbar])
def test_scrolling_back_to_the_end_follows_it_again(scroll: Scroll) -> None:
    async def script() -> None:
        async with showing(blocks(50)) as (app, pilot):
            end = app.seen
            await scroll(pilot, app)
            assert app.seen != end
            assert app.drawn == app.seen
            while not app.transcript.follows_end:
                await wheel(pilot, app, 1)
            assert app.drawn == app.seen == end
            app.transcript.add(Block(99, 1, 1))
            assert app.seen[-1] == "99.0"

    run(script())


def test_pages_up_through_2000_items_show_every_line_once() -> None:
    async def script() -> None:
        items = blocks(2000)
        async with showing(items, (60, 202)) as (app, pilot):
            page, pages, everything, most = app.transcript.page, [app.seen], names(items), 0
            for _ in range(len(everything) // page):
                await pilot.press("pageup")
                pages.insert(0, app.seen)
                most = max(most, sum(block.is_kept for block in items))
            shown = [line for one in pages[1:] for line in one]
            assert shown == everything[len(everything) - len(shown) :]
            assert pages[0] == everything[:page]
            assert most <= KEPT_ITEMS + page

    run(script())


def test_home_and_end_lead_to_the_first_and_the_last_line() -> None:
    async def script() -> None:
        items = blocks(300)
        async with showing(items) as (app, pilot):
            await pilot.press("home")
            assert app.seen == names(items)[:PAGE]
            assert app.transcript.scroll_offset.y == 0
            await pilot.press("pagedown")
            assert app.seen == names(items)[PAGE : 2 * PAGE]
            await pilot.press("end")
            assert app.seen == names(items)[-PAGE:]
            assert app.transcript.follows_end

    run(script())


def test_a_drag_of_the_scrollbar_leads_to_the_beginning() -> None:
    async def script() -> None:
        items = blocks(300)
        async with showing(items) as (app, pilot):
            await drag_scrollbar(pilot, app, PAGE - 1, -1)
            assert app.seen == names(items)[:PAGE]

    run(script())


def test_another_size_keeps_the_item_at_the_top() -> None:
    async def script() -> None:
        items = [turn(key, f"turn {key} " + "has many words " * 20) for key in range(60)]
        async with showing(items) as (app, pilot):
            await pilot.press(*["pageup"] * 5)
            name = app.seen[0][: len("model 45")]
            assert name.startswith("model")
            for size in ((40, 30), (120, 12), (60, 22)):
                await pilot.resize_terminal(*size)
                await pilot.pause()
                assert app.seen[0].startswith(name)

    run(script())


def test_the_cursor_brings_its_item_into_sight() -> None:
    async def script() -> None:
        items = blocks(200)
        async with showing(items) as (app, pilot):
            for step, most in ((-1, 40), (1, 30)):
                for _ in range(most):
                    app.transcript.move_cursor(step)
                    await pilot.pause()
                    chosen = app.transcript.cursor
                    assert isinstance(chosen, Block)
                    assert set(chosen.names) <= set(app.seen)
            app.transcript.put_cursor(3)
            assert set(items[3].names) <= set(app.seen)
            assert app.transcript.render_line(app.seen.index("3.0")).text.startswith("┃ ")

    run(script())


def test_a_cursor_is_on_its_item_when_another_goes() -> None:
    async def script() -> None:
        async with showing(blocks(30)) as (app, _):
            app.transcript.put_cursor(29)
            app.transcript.take_out(10)
            assert app.transcript.cursor is app.transcript.item(29)
            app.transcript.take_out(29)
            assert app.transcript.cursor is None

    run(script())


@pytest.mark.parametrize("pages", [0, 3])
def test_clicks_say_what_was_clicked_also_where_it_was_scrolled_to(pages: int) -> None:
    async def script() -> None:
        text = "some words\n\n```py\na = 1\n```\n\n```\nb\n```\n\n" + "more\n\n" * 2
        items = [turn(key, text, thoughts="hm, hm") for key in range(40)]
        async with showing(items) as (app, pilot):
            await pilot.press(*["pageup"] * pages)
            header = next(y for y, line in enumerate(app.seen) if line.startswith("model"))
            key = int(app.seen[header].split()[1])
            for label, y in (
                (" < ", header),
                (" > ", header),
                ("copy", header),
                ("thought", header + 1),
                ("copy", header + 4),
                ("copy", header + 7),
            ):
                x = 3 + app.seen[y].index(label) + 1
                await pilot.click(app.transcript, offset=(x, y))
            await pilot.click(app.transcript, offset=(5, header + 2))  # words
            assert app.clicks == [
                ("branch", -1, key),
                ("branch", 1, key),
                ("copy", True, key),
                ("fold", True, key),
                ("code", 0, key),
                ("code", 1, key),
            ]

    run(script())


def test_thoughts_that_are_folded_out_of_sight_do_not_move_what_is_seen() -> None:
    async def script() -> None:
        items = [turn(key, "words\n\n" * 15, thoughts="hm\n\n" * 20) for key in range(30)]
        for item in items:
            item.is_unfolded = True
        async with showing(items) as (app, pilot):
            app.transcript.viewport.place = index, _ = 20, 60
            await pilot.press("up")
            before = app.seen
            assert before[0] in ("words", ""), "seen from below its thoughts"
            for item in items[: index + 1]:
                item.is_unfolded = False
                app.transcript.changed(item.key)
                await pilot.pause()
                assert app.seen == before

    run(script())


def test_the_mouse_selects_the_text_that_is_seen() -> None:
    async def script() -> None:
        items = [turn(key, f"first of {key}\n\n*漢字* and more of {key}") for key in range(20)]
        async with showing(items) as (app, pilot):
            await pilot.press("pageup")
            start, end = where(app, "more of 13"), where(app, "more of 14")
            await drag(pilot, app, start, (end[0] + 3, end[1]))
            lines = app.seen[start[1] : end[1] + 1]
            lines[0], lines[-1] = "more of 13", "漢字 and more"
            assert app.screen.get_selected_text() == "\n".join(lines)
            assert [text for text in app.marked if text] == [line for line in lines if line]
            assert "model 14" in "\n".join(lines)

    run(script())


def test_a_selection_stays_on_its_text_while_items_above_are_measured() -> None:
    async def script() -> None:
        async with showing(blocks(400)) as (app, pilot):
            await drag(pilot, app, (3, 4), (6, 6))
            chosen = app.screen.get_selected_text()
            assert chosen == "\n".join([*app.seen[4:6], app.seen[6][:4]])
            await pilot.press(*["pageup"] * 9)
            assert app.screen.get_selected_text() == chosen
            await pilot.press("end")
            marked = [y for y, text in enumerate(app.marked) if text]
            assert marked == [4, 5, 6]

    run(script())


@pytest.mark.parametrize(
    ("x", "lines", "chosen"),
    [
        (40, 0, "0 words"),
        (1, 1, "0 words\n"),
        (0, 2, "0 words\n\na"),
        (50, 2, "0 words\n\nand more"),
    ],
)
def test_a_selection_may_end_where_there_is_no_text(x: int, lines: int, chosen: str) -> None:
    """Right of a line, on an empty line, on the bar."""

    async def script() -> None:
        items = [turn(key, "0 words\n\nand more") for key in range(20)]
        async with showing(items) as (app, pilot):
            start = where(app, "0 words")
            await drag(pilot, app, start, (EDGE_CELLS + x, start[1] + lines))
            selection = app.screen.selections[app.transcript]
            assert app.transcript.get_selection(selection) == (chosen, "\n")

    run(script())


def test_all_that_is_selected_is_what_was_written() -> None:
    async def script() -> None:
        items = [turn(1, "# a\n*b*"), turn(2, "```\nc\n```\n" * 10)]
        async with showing(items) as (app, _):
            app.screen.selections = {app.transcript: SELECT_ALL}
            assert (
                app.screen.get_selected_text() == "# a\n*b*\n\n" + ("```\nc\n```\n" * 10).rstrip()
            )

    run(script())


def test_other_items_end_a_selection() -> None:
    async def script() -> None:
        async with showing(blocks(40)) as (app, pilot):
            await drag(pilot, app, (3, 4), (6, 6))
            app.transcript.show(blocks(50))
            assert not app.screen.selections

    run(script())


def test_what_comes_before_there_is_a_screen_is_shown_once_there_is_one() -> None:
    async def script() -> None:
        items = [turn(key, "words\n\n" * 9) for key in range(9)]
        app = Screen(items)
        early = Transcript()
        early.show(items)
        early.add(live := turn(9, "more"))
        live.append(" words")
        early.changed(9)
        early.put_cursor(9)
        early.take_out(8)
        async with app.run_test(size=(60, 22)) as pilot:
            await app.transcript.remove()
            await app.mount(early, before=1)
            await wait_until(pilot, lambda: early.max_scroll_y)
            assert app.seen[-5] == "words"
            assert app.seen[-2] == "more words"
            assert early.cursor is live

    run(script())


@pytest.mark.parametrize("theme", ["textual-light", "nord", "ansi-dark"])
def test_another_theme_is_worn_at_once(theme: str) -> None:
    async def script() -> None:
        items = [turn(key, "```py\na = 1\n```\nwords") for key in range(20)]
        async with showing(items) as (app, pilot):
            seen = app.seen
            before = [app.transcript.render_line(y) for y in range(PAGE)]
            app.theme = theme
            await pilot.pause()
            await pilot.pause()
            after = [app.transcript.render_line(y) for y in range(PAGE)]
            assert app.seen == seen
            assert before != after
            look = app.transcript.column.look
            assert look is not None
            assert look.code_theme.startswith("ansi" if "ansi" in theme else ("github", "tango"))

    run(script())
