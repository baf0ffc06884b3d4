"""Beginning, opening, finding, naming, copying and deleting conversations."""

from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.records import Listed
from edgellm.apps.chat.dialogs.searching import SearchDialog
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, covers, run


@covers("new")
def test_a_new_conversation_is_answered_like_the_one_before(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, system="Be brief.") as chat:
            await chat.send("/set temperature 0.1")
            await chat.send("first")
            await chat.press("ctrl+n")
            await chat.settle()
            assert chat.said == []
            assert chat.chat.desk.conversation.system == "Be brief."
            assert chat.chat.desk.settings.temperature == 0.1
            await chat.send("second")
            assert [one.title for one in await listed(chat)] == ["second", "first"]

    run(script())


@covers("open")
def test_a_conversation_is_chosen_from_a_list_by_typing(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            for word in ("herons", "egrets", "storks"):
                await chat.send(word)
                await chat.press("ctrl+n")
                await chat.settle()
            await chat.press("ctrl+o")
            await chat.until(lambda: chat.dialog)
            await chat.press(*"egr", "enter")
            await chat.settle()
            assert chat.said == ["egrets", "egrets"]

    run(script())


@covers("search")
def test_a_turn_is_found_by_its_words_on_any_branch(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(
            tmp_path, FakeRuntime(answer=["a grey heron", "a white egret"])
        ) as chat:
            await chat.send("What is it?")
            await chat.press("f5")
            await chat.settle()
            await chat.press("ctrl+n")
            await chat.settle()
            await chat.press("ctrl+f")
            await chat.until(lambda: isinstance(chat.dialog, SearchDialog))
            await chat.press(*"GREY her")
            await chat.until(lambda: chat.dialog and chat.dialog.query_one(OptionList).option_count)
            await chat.press("enter")
            await chat.settle()
            assert chat.said == ["What is it?", "a grey heron"]
            assert chat.chat.transcript.cursor is not None

    run(script())


@covers("rename")
def test_a_conversation_gets_a_name(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            await chat.send("/rename Birds of \x1b[31mthe shore")
            assert [one.title for one in await listed(chat)] == [r"Birds of \x1b[31mthe shore"]
            await chat.send("/rename")
            await chat.until(lambda: chat.dialog)
            await chat.press("ctrl+u", *"Gulls", "enter")
            await chat.settle()
            assert [one.title for one in await listed(chat)] == ["Gulls"]

    run(script())


@covers("fork")
def test_a_fork_goes_its_own_way(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("one")
            await chat.send("/fork")
            await chat.send("two")
            assert chat.said == ["one", "one", "two", "two"]
            assert [one.turns for one in await listed(chat)] == [4, 2]

    run(script())


@covers("delete")
def test_a_conversation_is_deleted_only_after_a_yes(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("secret")
            for keys, left in ((["enter"], 1), (["escape"], 1), (["down", "enter"], 0)):
                await chat.send("/delete")
                await chat.until(lambda: chat.dialog)
                await chat.press(*keys)
                await chat.settle()
                assert len(await listed(chat)) == left
            assert chat.said == []
            assert not list((tmp_path / "states").glob("*.kv"))

    run(script())


def test_the_panel_opens_a_conversation(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, size=(140, 40)) as chat:
            await chat.send("herons")
            await chat.press("ctrl+n")
            await chat.settle()
            chats = chat.chat.query_one("#chats", OptionList)
            await chat.until(lambda: chats.option_count == 1)
            chats.focus()
            await chat.press("down", "enter")
            await chat.settle()
            assert chat.said == ["herons", "herons"]

    run(script())


def test_leaving_a_conversation_stops_its_answer_and_keeps_it(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=["word " * 100_000], decode_s=0.005, context=200_000)
        async with chatting(tmp_path, runtime) as chat:
            await chat.type("Talk")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.talk.answer and chat.chat.talk.answer.tokens > 3)
            await chat.press("ctrl+n")
            await chat.settle()
            assert chat.said == []
            (one,) = await listed(chat)
            await chat.send(f"/open {one.id}")
            assert chat.said[1].startswith("word")

    run(script())


def test_a_conversation_that_is_opened_again_is_not_read_again(tmp_path: Path) -> None:
    async def script() -> None:
        long = " ".join(f"word{number}" for number in range(60))
        async with chatting(tmp_path) as chat:
            await chat.send(long)
            await chat.leave()
        async with chatting(tmp_path, resume=True) as chat:
            assert chat.chat.showing.used_tokens
            await chat.send("again")
            answer = chat.chat.talk.answer
            assert answer is not None
            assert answer.prefill is not None
            assert answer.prefill.cached > 60

    run(script())


async def listed(chat: Driver) -> list[Listed]:
    return await chat.chat.desk.archive.do(catalog.list_newest)


def many(database: Database, limit: int = 50, offset: int = 0) -> list[Listed]:
    """As many conversations as one asks for, up to 501, in place of those there are."""
    ids = range(1, min(limit, 501) + 1)
    return [Listed(one, str(one), f"bird {one}", "", one, 0, "") for one in ids]


async def show_list(chat: Driver) -> tuple[list[str], str]:
    """(rows of the list of conversations, everything that stands around it)."""
    await chat.press("ctrl+o")
    await chat.until(lambda: chat.dialog)
    assert chat.dialog is not None
    rows = [str(one.prompt) for one in chat.dialog.query_one(OptionList).options]
    return rows, "\n".join(str(one.content) for one in chat.dialog.query(Static))


def test_a_list_that_is_not_whole_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            assert "/search" not in (await show_list(chat))[1]
            await chat.press("escape")
            await chat.settle()
            monkeypatch.setattr(catalog, "list_newest", many)
            rows, around = await show_list(chat)
            assert len(rows) == 500
            assert "The newest 500; /search finds all others" in around

    run(script())


def test_turns_are_counted_as_people_say_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            monkeypatch.setattr(catalog, "list_newest", many)
            rows, _ = await show_list(chat)
            assert rows[0].endswith(" · 1 turn")
            assert rows[1].endswith(" · 2 turns")

    run(script())


def test_before_a_conversation_is_deleted_it_is_said_how_much_goes(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("secret")
            await chat.press("f5")
            await chat.settle()
            await chat.send("/delete")
            assert chat.dialog is not None
            note = str(chat.dialog.query_one(".note", Static).content)
            assert note == "“secret” has 3 turns, on all its branches."

    run(script())
