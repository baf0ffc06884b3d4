"""The file that holds every conversation, opened by one thread of one program.

Write-ahead logging with synchronous=FULL: what a function here has returned from is on the disk,
whatever happens to the program or the power. Several programs may have the file open; each change
is one transaction, and none waits for another longer than a few seconds.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgellm.apps.chat.conversations.faults import (
    damaged,
    is_locked,
    not_writable,
    sqlite_errors,
)
from edgellm.apps.chat.conversations.schema import (
    VERSION,
    check_schema,
    require_full_text_search,
    stored_version,
    upgrade,
)
from edgellm.apps.chat.conversations.texts import whole
from edgellm.closing import Closing
from edgellm.errors import IntegrityError
from edgellm.files import output_errors

NAME = "conversations.db"
BUSY_S = 5.0  # how long a change waits for another program's
_RETRY_S = 0.02
_SETTINGS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: to the disk itself, not only to its cache
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA secure_delete = ON",
    f"PRAGMA journal_size_limit = {4 << 20}",
)
Value = str | int | None
Row = tuple[Any, ...]


class Database(Closing):
    """conversations.db in a folder; both are made when they are not there.

    All else in this package that takes a Database is a function beside it. Raises OutputError,
    IntegrityError, UnsupportedError; a file that cannot be used is left as it is.
    """

    def __init__(self, folder: Path, busy_s: float = BUSY_S) -> None:
        self.path = folder / NAME
        _make_private(folder, self.path)
        _refuse_lost_beginning(self.path)
        with sqlite_errors(self.path):
            self._connection = sqlite3.connect(self.path, busy_s, isolation_level=None)
        try:
            with sqlite_errors(self.path):
                self._set_up(busy_s)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        with sqlite_errors(self.path):
            self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One change, on the disk when the block ends; none at all where it raises."""
        with self._transaction("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Everything read in the block is of one moment."""
        with self._transaction("BEGIN"):
            yield

    def rows(self, kinds: Row, statement: str, *values: Value) -> Generator[Row, None, None]:
        """The rows of a query. kinds: the type of each column, which a damaged file may break."""
        with sqlite_errors(self.path):
            for row in self._execute(statement, values):
                if not all(map(isinstance, row, kinds)):
                    raise damaged(self.path, "a column holds a value of another type")
                yield row

    def change(self, statement: str, *values: Value) -> int:
        """Run a statement that changes rows; returns how many."""
        with sqlite_errors(self.path):
            return self._execute(statement, values).rowcount

    def insert(self, statement: str, *values: Value) -> int:
        """Insert a row; returns its id."""
        with sqlite_errors(self.path):
            row_id = self._execute(statement, values).lastrowid
        assert row_id is not None
        return row_id

    def forget_deleted(self) -> None:
        """Take what was deleted out of the log, too, unless another program reads there."""
        with sqlite_errors(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _execute(self, statement: str, values: tuple[Value, ...]) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except UnicodeEncodeError:  # before anything was done
            texts = (whole(value) if isinstance(value, str) else value for value in values)
            return self._connection.execute(statement, tuple(texts))

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with sqlite_errors(self.path):
            self._connection.execute(begin)
        try:
            yield
            with sqlite_errors(self.path):
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it by itself
                with sqlite_errors(self.path):
                    self._connection.execute("ROLLBACK")
            raise

    def _set_up(self, busy_s: float) -> None:
        for setting in _SETTINGS:
            self._connection.execute(setting).close()
        require_full_text_search(self._connection)
        with self.reading():
            version = stored_version(self._connection, self.path)
        self._log_ahead(busy_s)
        if version < VERSION:
            with self.writing():  # another program may have been faster
                upgrade(self._connection, stored_version(self._connection, self.path))
        check_schema(self._connection, self.path)

    def _log_ahead(self, busy_s: float) -> None:
        """Switch to write-ahead logging; SQLite does not itself wait for others here.

        Where the file system cannot do it, the older journal stays: as safe, but slower.
        """
        deadline = time.monotonic() + busy_s
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
                return
            except sqlite3.Error as error:
                if not is_locked(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_S)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _make_private(folder: Path, file: Path) -> None:
    """See that both are there, and for this user only; SQLite's other files follow the file."""
    with output_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Never opened when it is there: closing it would end the locks this process has on it.
    with output_errors(file), suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    # SQLite would open it, and leave a log beside it that cannot be written either.
    if not os.access(file, os.R_OK | os.W_OK):
        raise not_writable(file)
    if sys.platform == "win32":
        return
    for path, mode in ((folder, 0o700), (file, 0o600)):
        with output_errors(path):
            if path.stat().st_mode & 0o077:
                path.chmod(mode)


def _refuse_lost_beginning(file: Path) -> None:
    """Refuse an empty file beside a log: SQLite would throw away the log, with what it holds."""
    log = file.with_name(f"{file.name}-wal")
    with output_errors(file):
        is_lost = file.stat().st_size == 0 and log.exists() and log.stat().st_size > 0
    if is_lost:
        raise IntegrityError(
            f"{file}: empty, though {log.name} beside it holds changes; move both away or restore "
            "the database from a copy"
        )
