"""The database for asyncio: order, errors, and an end that waits for everything."""

import asyncio
import threading
from pathlib import Path

import pytest

from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.database import NAME, Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.errors import InputError, IntegrityError, UsageError


def own_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("edgellm-conversations")]


def test_functions_run_in_order_on_one_thread_that_is_not_the_loops(folder: Path) -> None:
    async def talk() -> None:
        async with await Archive.open(folder) as archive:
            conversation = await archive.do(catalog.create, title="Herons")
            said = [archive.do(turns.add_user, conversation.id, None, text) for text in "abc"]
            added = await asyncio.gather(*said)
            assert [turn.content for turn in added] == ["a", "b", "c"]
            assert sorted(turn.id for turn in added) == [turn.id for turn in added]
            threads = {await archive.do(lambda database: threading.get_ident()) for _ in range(3)}
            assert len(threads) == 1
            assert threads != {threading.get_ident()}

    asyncio.run(talk())


def test_errors_arrive_where_the_result_is_awaited(folder: Path) -> None:
    async def talk() -> None:
        async with await Archive.open(folder) as archive:
            with pytest.raises(InputError, match="no conversation 7"):
                await archive.do(load, 7)
            assert await archive.do(catalog.list_newest) == []

    asyncio.run(talk())


def test_an_archive_that_cannot_be_opened_leaves_no_thread(folder: Path) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(b"x" * 5000)
    with pytest.raises(IntegrityError, match="not a database"):
        asyncio.run(Archive.open(folder))
    for thread in own_threads():
        thread.join(10)
    assert own_threads() == []


def test_closing_waits_for_what_was_handed_in(folder: Path) -> None:
    held = threading.Event()

    async def talk() -> None:
        archive = await Archive.open(folder)
        conversation = await archive.do(catalog.create)
        block = asyncio.ensure_future(archive.do(lambda database: held.wait(10)))
        said = [
            asyncio.ensure_future(archive.do(turns.add_user, conversation.id, None, str(number)))
            for number in range(20)
        ]
        await asyncio.sleep(0)  # each has handed in its function now
        ends = asyncio.gather(archive.close(), archive.close())
        held.set()
        await ends
        assert await block
        assert all(future.done() for future in said)

    asyncio.run(talk())
    with Database(folder) as database:
        assert len(load(database, 1).turns) == 20


def test_a_save_whose_task_is_cancelled_is_done_all_the_same(folder: Path) -> None:
    held = threading.Event()

    async def talk() -> None:
        async with await Archive.open(folder) as archive:
            conversation = await archive.do(catalog.create)
            block = asyncio.ensure_future(archive.do(lambda database: held.wait(10)))
            save = asyncio.ensure_future(archive.do(turns.add_user, conversation.id, None, "kept"))
            await asyncio.sleep(0)
            save.cancel()
            with pytest.raises(asyncio.CancelledError):
                await save
            held.set()
            await block
            loaded = await archive.do(load, conversation.id)
            assert [turn.content for turn in loaded.path()] == ["kept"]

    asyncio.run(talk())


def test_an_opening_that_nobody_waits_for_closes_again(folder: Path) -> None:
    async def talk() -> None:
        opening = asyncio.ensure_future(Archive.open(folder))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    asyncio.run(talk())
    for thread in own_threads():
        thread.join(10)
    assert own_threads() == []
    Database(folder, busy_s=0.01).close()


def test_a_closed_archive_does_nothing_more(folder: Path) -> None:
    async def talk() -> None:
        archive = await Archive.open(folder)
        await archive.close()
        await archive.close()
        with pytest.raises(UsageError, match="closed already"):
            await archive.do(catalog.list_newest)

    asyncio.run(talk())
