"""An answer that is written: what is kept of it at any time."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.apps.chat.conversations import catalog, draft, turns
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.draft import Draft
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Figures, Turn
from edgellm.errors import EdgeLLMError, InputError, OutputError
from tests.apps.chat.conversations.test_sentences import finished_part, text_with_ends

Kept = Callable[[], Awaitable[Turn]]
Script = Callable[[Draft, Kept, Archive], Awaitable[None]]


def write(folder: Path, script: Script, failures: Sequence[type[EdgeLLMError]] = ()) -> None:
    """Run a script with the draft of a new answer and a way to see what is kept of it."""

    async def run() -> None:
        async with await Archive.open(folder) as archive:
            conversation = (await archive.do(catalog.create)).id
            asked = await archive.do(turns.add_user, conversation, None, "?")
            answer = await archive.do(turns.begin_answer, conversation, asked.id, "m")

            async def kept() -> Turn:
                return (await archive.do(load, conversation)).turns[answer.id]

            heard: list[EdgeLLMError] = []
            await script(Draft(archive, answer.id, heard.append), kept, archive)
            assert [type(failure) for failure in heard] == list(failures)

    asyncio.run(run())


@given(st.lists(st.tuples(text_with_ends, st.booleans(), st.booleans()), max_size=6))
@settings(max_examples=40, deadline=None)
def test_what_is_kept_is_the_text_up_to_the_last_finished_sentence(
    shared_folder: Path, steps: list[tuple[str, bool, bool]]
) -> None:
    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        content = reasoning = over = ""
        for text, is_thought, is_seen in steps:
            if is_thought:
                draft.feed("", text)
                reasoning += text
            else:
                draft.feed(text)
                content += text
                over = reasoning if text else over  # a thought is over when the answer goes on
            if is_seen:
                await draft.settle()
                turn = await kept()
                assert turn.content == finished_part(content)
                assert turn.reasoning == over + finished_part(reasoning[len(over) :])

    write(shared_folder, script)


def test_a_finished_answer_is_whole(folder: Path) -> None:
    figures = Figures(1, 2, 3, 4, 5, 6)

    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        draft.feed("One. Tw")
        draft.feed("o. Thr")
        await draft.finish("One. Two. Thr", "Hm", "cancelled", figures)
        turn = await kept()
        assert (turn.content, turn.reasoning) == ("One. Two. Thr", "Hm")
        assert (turn.ending, turn.figures) == ("cancelled", figures)
        assert await archive.do(lambda db: db.change("DELETE FROM pieces")) == 0

    write(folder, script)


def test_a_dropped_answer_is_gone(folder: Path) -> None:
    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        assert await draft.drop()
        assert [turn.role for turn in (await archive.do(load, 1)).path()] == ["user"]

    write(folder, script)


def test_feeding_never_waits_and_saves_what_came_meanwhile_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[str] = []
    is_free = threading.Event()

    def slow_save(database: Database, turn: int, content: str, reasoning: str) -> None:
        saves.append(content)
        assert is_free.wait(10)
        turns.append_piece(database, turn, content, reasoning)

    monkeypatch.setattr(draft, "append_piece", slow_save)

    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        draft.feed("1. ")
        while not saves:
            await asyncio.sleep(0)
        for number in range(2, 100):
            draft.feed(f"{number}. ")
        is_free.set()
        await draft.settle()
        assert saves == ["1. ", "".join(f"{number}. " for number in range(2, 100))]
        assert (await kept()).content == "".join(saves)

    write(folder, script)


def fill_disk(database: Database) -> None:
    ((pages,),) = database.rows((int,), "PRAGMA page_count")
    list(database.rows((int,), f"PRAGMA max_page_count = {pages}"))


def free_disk(database: Database) -> None:
    list(database.rows((int,), "PRAGMA max_page_count = 1000000"))


LONG = "word " * 2000 + ". "


def test_a_full_disk_is_told_once_and_the_answer_is_whole_once_there_is_room(folder: Path) -> None:
    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        draft.feed("First. ")
        await draft.settle()
        await archive.do(fill_disk)
        for _ in range(3):
            draft.feed(LONG)
            await draft.settle()
        with pytest.raises(OutputError, match="the disk is full"):
            await draft.finish("First. " + 3 * LONG, "", "end")
        assert (await kept()).content == "First. "
        await archive.do(free_disk)
        draft.feed("Last. ")
        await draft.settle()
        assert (await kept()).content == "First. " + 3 * LONG + "Last. "
        await draft.finish("All.", "", "end")
        assert (await kept()).content == "All."

    write(folder, script, [OutputError])


def test_a_conversation_that_is_deleted_meanwhile_is_told(folder: Path) -> None:
    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        await archive.do(catalog.delete, 1)
        draft.feed("One. ")
        await draft.settle()
        with pytest.raises(InputError, match="another program may have deleted it"):
            await draft.finish("One.", "", "end")

    write(folder, script, [InputError])


def test_what_may_be_shown_is_one_sentence_ahead_of_what_is_kept(tmp_path: Path) -> None:
    async def script(draft: Draft, kept: Kept, archive: Archive) -> None:
        held = threading.Event()
        waiting = asyncio.create_task(archive.do(lambda database: held.wait(20)))
        await asyncio.sleep(0)
        assert draft.showable is None
        for piece in ("One. ", "Two. ", "Three. ", "Fo"):
            draft.feed(piece)
        assert draft.showable == len("One. ")
        held.set()
        await waiting
        await draft.settle()
        assert draft.showable is None
        assert (await kept()).content == "One. Two. Three. "

    write(tmp_path, script)


def test_where_nothing_can_be_kept_everything_may_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(draft, "append_piece", full)

    async def script(one: Draft, kept: Kept, archive: Archive) -> None:
        one.feed("One. Two. ")
        await one.settle()
        assert one.showable is None

    write(tmp_path, script, [OutputError])
