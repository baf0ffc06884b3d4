"""What goes wrong in SQLite, as edgellm's errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgellm.apps.chat.conversations.texts import beginning
from edgellm.errors import EdgeLLMError, InputError, IntegrityError, OutputError

_REASON = 120  # characters
_PRIMARY = 0xFF  # the rest of a code is detail
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_DENIED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_RESCUE = "keep a copy of it; with it moved away, edgellm begins an empty one"


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises while it works on `path` into one line of the error tree."""
    try:
        yield
    # A damaged file may hold names, and so messages, that are no text.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _named(path, error) from error


def damaged(path: Path, problem: str) -> IntegrityError:
    """What to raise where the file holds what edgellm never wrote."""
    return IntegrityError(f"{path}: the database is damaged: {problem}; {_RESCUE}")


def not_writable(path: Path) -> OutputError:
    """What to raise where the file is, or would be, out of this user's reach."""
    return OutputError(
        f"{path}: cannot be opened for writing; check the permissions of it and its folder"
    )


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another program holds the file just now."""
    return _code(error) in _LOCKED


def _code(error: Exception) -> int | None:
    """SQLite's code of an error; none where Python found the fault."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


def _named(path: Path, error: Exception) -> EdgeLLMError:
    code = _code(error)
    reason = beginning(str(error), _REASON)  # which may quote what a damaged file holds
    if code in _LOCKED:
        return OutputError(
            f"{path}: another program has kept the database locked; nothing was changed. Close "
            "that program or try again"
        )
    if code == sqlite3.SQLITE_FULL:
        return OutputError(f"{path}: the disk is full; nothing was changed. Free some space")
    if code in _DENIED:
        return not_writable(path)
    if code == sqlite3.SQLITE_IOERR:
        return OutputError(f"{path}: the disk failed ({reason}); check the disk and try again")
    if code == sqlite3.SQLITE_NOTADB:
        return IntegrityError(f"{path}: not a database, or its beginning is damaged; {_RESCUE}")
    if code == sqlite3.SQLITE_TOOBIG:
        return InputError(f"{path}: a text is too long to store; divide it")
    return damaged(path, reason)
