"""Keys and pastes as terminals send them, and what is said above the prompt."""

import asyncio
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual import events

from edgellm.apps.chat import showing
from edgellm.apps.chat.commands import models, view
from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.screen import ChatScreen
from edgellm.apps.chat.widgets.activity import ActivityLine
from edgellm.errors import IntegrityError
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, run

PARAGRAPHS = "\n\n".join(f"paragraph {number}" for number in range(60))
ENDLESS = "word " * 100_000


def burst(chat: Driver, text: str) -> None:
    """Type faster than anything can follow."""
    for character in text:
        chat.app.post_message(events.Key(character, character))


def line(chat: Driver) -> str:
    """What stands above the prompt."""
    return chat.chat.query_one(ActivityLine).render().plain


def test_what_is_typed_at_once_while_a_turn_is_selected_is_all_text(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            await chat.press("alt+up")
            burst(chat, "/decay")  # its letters are keys of turns
            await chat.until(lambda: chat.chat.prompt.text == "/decay")
            assert chat.said == ["hello", "hello"]
            assert chat.chat.editing is None

    run(script())


def test_alt_with_a_letter_writes_nothing_whatever_the_terminal_sends(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            chat.app.post_message(events.Key("alt+z", "z"))
            await chat.until(lambda: chat.said == [])
            await chat.settle()
            assert chat.chat.prompt.text == "hello"
            await chat.press("alt+up")
            chat.app.post_message(events.Key("alt+y", "y"))
            await chat.until(lambda: chat.said == ["hello", "hello"])

    run(script())


def test_a_paste_goes_to_the_prompt_whatever_has_the_keys(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            await chat.press("alt+up")
            chat.app.post_message(events.Paste("two\nlines"))
            await chat.until(lambda: chat.chat.prompt.text == "two\nlines")
            chat.app.post_message(events.Paste("!"))
            await chat.until(lambda: chat.chat.prompt.text == "two\nlines!")
            assert chat.app.focused is chat.chat.prompt

    run(script())


def test_tab_leads_from_the_prompt_to_what_was_said_and_the_panel(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(130, 30)) as chat:
            await chat.send("hello")
            seen = []
            for _ in range(3):
                await chat.press("tab")
                seen.append(chat.app.focused and chat.app.focused.id)
            assert set(seen) == {"transcript", "chats", "prompt"}
            await chat.press(*"/undo", "tab")  # a command that is whole needs no completing
            assert chat.app.focused is chat.chat.prompt
            assert chat.said == ["hello", "hello"]

    run(script())


def test_pages_are_turned_from_the_prompt_and_the_way_back_is_shown(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=[PARAGRAPHS], context=4096)) as chat:
            await chat.send("Tell")
            assert "▼" not in line(chat)
            for key, is_at_end in (
                ("pageup", False),
                ("ctrl+end", True),
                ("ctrl+home", False),
                ("pagedown", False),
            ):
                await chat.press(key)
                assert chat.chat.transcript.follows_end == is_at_end
                assert ("▼ more below: Ctrl+End" in line(chat)) != is_at_end
            assert chat.app.focused is chat.chat.prompt

    run(script())


def test_pages_are_those_of_a_long_text_in_the_prompt_while_there_is_one(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=[PARAGRAPHS], context=4096)) as chat:
            await chat.send("Tell")
            await chat.type("\n" * 40)
            await chat.press("pageup")
            assert chat.chat.transcript.follows_end
            assert chat.chat.prompt.cursor_location[0] < 40

    run(script())


@pytest.mark.parametrize("width", [45, 60, 80, 160])
def test_the_way_back_is_shown_in_any_width_and_beside_an_answer(
    tmp_path: Path, width: int
) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=[PARAGRAPHS + ENDLESS], decode_s=0.001, context=200_000)
        async with chatting(tmp_path, runtime, size=(width, 16)) as chat:
            await chat.type("Tell")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.transcript.max_scroll_y > 20)
            await chat.press("pageup")
            await chat.until(lambda: "▼" in line(chat) and "writing" in line(chat))
            assert "Esc stops" in line(chat)
            assert cell_len(line(chat)) <= width - 4
            await chat.press("escape")
            await chat.settle()

    run(script())


@pytest.mark.parametrize("width", [45, 80])
def test_what_is_long_is_said_whole_above_the_prompt(tmp_path: Path, width: int) -> None:
    said = "a file: cannot be read, as nobody has written it; write it first, then try again"

    async def script() -> None:
        async with chatting(tmp_path, size=(width, 24)) as chat:
            prompt_y = chat.chat.prompt.region.y
            chat.chat.tell(said, "error")
            await chat.pilot.pause()
            assert " ".join(line(chat).split()) == said
            assert all(cell_len(part) <= width - 4 for part in line(chat).split("\n"))
            assert chat.chat.query_one(ActivityLine).region.bottom == prompt_y
            assert not chat.app._notifications
            chat.chat.tell("word " * 1_000)
            await chat.pilot.pause()
            assert line(chat).endswith("…")
            assert chat.chat.transcript.size.height > 5

    run(script())


def test_what_is_said_is_harmless_in_a_terminal(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            chat.chat.tell("no \x1b[31mfile\u202e there", "error")
            await chat.pilot.pause()
            assert line(chat) == r"no \x1b[31mfile\u202e there"

    run(script())


def test_what_was_said_goes_once_something_else_is_done(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("/context 0")
            assert "expected a number of tokens" in chat.told
            await chat.send("/context 64")
            assert "expected" not in chat.told
            assert "The context holds 64 tokens now." in chat.told

    run(script())


def test_an_error_of_work_beside_the_screen_is_said_and_ends_nothing(tmp_path: Path) -> None:
    async def broken() -> None:
        raise IntegrityError("the database is damaged")

    async def script() -> None:
        async with chatting(tmp_path) as chat:
            chat.chat.run_worker(broken())
            await chat.until(lambda: "the database is damaged" in chat.told)
            await chat.send("hello")
            assert chat.said == ["hello", "hello"]

    run(script())


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light", "ansi-dark", "ansi-light"])
def test_text_that_is_selected_can_be_read(tmp_path: Path, theme: str) -> None:
    async def script() -> None:
        async with chatting(tmp_path, theme=theme) as chat:
            style = chat.chat.get_component_rich_style("screen--selection")
            assert style.color != style.bgcolor

    run(script())


def test_what_was_not_sent_stands_in_the_prompt_the_next_time(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.type("half a thou")
            await chat.leave()
        async with chatting(tmp_path) as chat:
            await chat.until(lambda: chat.chat.prompt.text == "half a thou")
            await chat.press(*"ght", "enter")
            await chat.settle()
            await chat.leave()
        async with chatting(tmp_path) as chat:
            await chat.until(lambda: chat.chat.prompt._history)
            assert chat.chat.prompt.text == ""

    run(script())


def test_what_was_not_sent_is_kept_while_one_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "REST_S", 0.01)

    async def script() -> None:
        async with chatting(tmp_path) as chat, await Archive.open(tmp_path) as beside:
            kept: str | None = None
            await chat.type("half a thought")
            while kept != "half a thought":
                await chat.pilot.pause(0.01)
                kept = await beside.do(remembered.recall, view.UNSENT)

    run(script())


def test_leaving_is_possible_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*words: object) -> None:
        raise IntegrityError("the database is damaged")

    async def script() -> None:
        async with chatting(tmp_path) as chat:
            monkeypatch.setattr(Archive, "do", refuse)
            await chat.leave()

    run(script())


def test_nothing_of_another_model_or_conversation_is_shown(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(160, 40)) as chat:
            await chat.send("hello")
            for command in ("/reload", "/new"):
                await chat.send("hello")
                assert "tok/s" in chat.status
                assert "tokens/s" in str(chat.panel.query_one("#facts").render())
                await chat.send(command)
                assert "tok/s" not in chat.status
                assert "tokens/s" not in str(chat.panel.query_one("#facts").render())
                assert not chat.panel.query_one("#rates").display

    run(script())


def test_a_question_that_is_too_long_shows_what_it_would_take(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=64)) as chat:
            await chat.send("word " * 500)
            await chat.until(lambda: chat.dialog)
            await chat.press("escape")
            await chat.settle()
            used = chat.chat.showing.used_tokens
            assert used is not None
            assert used > 500
            assert f"ctx {used:,}/64" in chat.status

    run(script())


def test_where_no_model_is_loaded_the_line_says_how_to_get_one(tmp_path: Path, home: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path / "chats", model=None, wait=False) as chat:
            await chat.until(lambda: chat.dialog)
            await chat.press("escape")
            await chat.until(lambda: "Ctrl+L chooses one" in line(chat))
            assert chat.status.endswith("no model")
            await chat.type("hello")
            await chat.press("enter")
            await chat.until(lambda: chat.dialog)
            await chat.press("escape")
            await chat.settle()
            assert "not answered yet" in chat.texts[-1]
            assert "Ctrl+L chooses one" in line(chat)

    run(script())


def test_long_texts_are_said_for_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(showing, "perf_counter", lambda: now_s[0])

    async def script() -> None:
        async with chatting(tmp_path) as chat:
            for text, is_said in (("short", False), ("long " * 40, True)):
                chat.chat.tell(text)
                now_s[0] += 6
                assert bool(chat.chat.showing.said) == is_said

    run(script())


def test_a_question_typed_before_the_first_load_began_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script() -> None:
        is_due, begin = asyncio.Event(), models.load_first

        async def begin_late(chat: ChatScreen, reference: str | None) -> None:
            await is_due.wait()
            await begin(chat, reference)

        monkeypatch.setattr(models, "load_first", begin_late)
        async with chatting(tmp_path, wait=False) as chat:
            await chat.type("hello")
            await chat.press("enter")
            await chat.until(lambda: chat.said == ["hello"])
            await chat.pilot.pause()
            assert chat.dialog is None
            is_due.set()
            await chat.until(lambda: chat.said == ["hello", "hello"])

    run(script())
