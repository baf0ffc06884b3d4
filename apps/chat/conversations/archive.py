"""The database for asyncio: one thread that does one thing after the other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from edgellm.apps.chat.conversations.database import BUSY_S, Database
from edgellm.closing import AsyncClosing
from edgellm.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")


class Archive(AsyncClosing):
    """Runs the functions of this package that take a Database, in the order they are handed in.

    async with await Archive.open(folder) as archive:
        conversation = await archive.do(create, title="Herons")
        turn = await archive.do(add_user, conversation.id, None, "What is a heron?")
    """

    def __init__(self, database: Database, thread: ThreadPoolExecutor) -> None:
        """thread: the one that made the database; `open` does both."""
        self._database = database
        self._thread = thread
        self._closed: Future[None] | None = None

    @classmethod
    async def open(cls, folder: Path, busy_s: float = BUSY_S) -> "Archive":
        """See Database, for the errors as well."""
        thread = ThreadPoolExecutor(1, "edgellm-conversations")
        opened = thread.submit(Database, folder, busy_s)
        try:
            return cls(await asyncio.wrap_future(opened), thread)
        except BaseException:
            thread.submit(_close_again, opened)
            thread.shutdown(wait=False)
            raise

    async def do(
        self,
        function: Callable[Concatenate[Database, P], T],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Run `function(database, *arguments)` on the thread; returns and raises what it does.

        It runs even when the task that waits here is cancelled. Raises UsageError after `close`.
        """
        if self._closed is not None:
            raise UsageError("the conversations are closed already; open them again")
        begun = self._thread.submit(function, self._database, *arguments, **named)
        return await asyncio.shield(asyncio.wrap_future(begun))

    async def close(self) -> None:
        """Do what was handed in, then close the database; calling it twice is no error."""
        if self._closed is None:
            self._closed = self._thread.submit(self._database.close)
            self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(self._closed))


def _close_again(opened: Future[Database]) -> None:
    """For a database that nobody waits for any more, on the thread that opened it."""
    if not opened.cancelled() and opened.exception() is None:
        opened.result().close()
