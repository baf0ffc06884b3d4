"""Opening the file: whose it is, who may read it, and every way in which that fails."""

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgellm.apps.chat.conversations import catalog, schema, turns
from edgellm.apps.chat.conversations.database import NAME, Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.errors import EdgeLLMError, IntegrityError, OutputError, UnsupportedError

on_posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")


def pragma(database: Database, name: str) -> object:
    ((value,),) = database.rows((object,), f"PRAGMA {name}")
    return value


def test_the_connection_is_as_durable_and_careful_as_it_says(database: Database) -> None:
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "fullfsync": 1,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "secure_delete": 1,
        "busy_timeout": 5000,
        "user_version": 1,
    }
    assert {name: pragma(database, name) for name in expected} == expected


@on_posix
def test_folder_and_files_are_for_this_user_only(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    (folder / NAME).touch(mode=0o644)
    with Database(folder) as database:
        catalog.create(database)
        files = list(folder.iterdir())
        assert len(files) == 3
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_everything_is_there_when_it_is_opened_again(folder: Path) -> None:
    with Database(folder) as database:
        catalog.create(database, "Herons")
        turns.add_user(database, 1, None, "What is a heron?")
        before = load(database, 1)
    with Database(folder) as database:
        assert load(database, 1) == before


def test_a_change_that_raises_leaves_nothing(database: Database) -> None:
    catalog.create(database)

    def fail_half_way() -> None:
        with database.writing():
            database.change("DELETE FROM conversations")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert len(catalog.list_newest(database)) == 1


def spoil_text(file: Path) -> None:
    file.write_bytes(b"no database at all, but rather long. " * 100)


def spoil_foreign(file: Path) -> None:
    run(file, "CREATE TABLE theirs (a)")


def spoil_foreign_version(file: Path) -> None:
    run(file, "PRAGMA user_version = 1")


def spoil_table(file: Path) -> None:
    Database(file.parent).close()
    run(file, "DROP TABLE cuts")


def spoil_column(file: Path) -> None:
    Database(file.parent).close()
    run(file, "ALTER TABLE turns ADD COLUMN theirs")


def spoil_trigger(file: Path) -> None:
    Database(file.parent).close()
    run(file, "CREATE TRIGGER t AFTER INSERT ON turns BEGIN DELETE FROM turns; END")


def spoil_newer(file: Path) -> None:
    Database(file.parent).close()
    run(file, "PRAGMA user_version = 2")


def spoil_emptied(file: Path) -> None:
    with Database(file.parent) as database:
        catalog.create(database)
        log = file.with_name(f"{NAME}-wal").read_bytes()
    file.write_bytes(b"")
    file.with_name(f"{NAME}-wal").write_bytes(log)


def spoil_folder(file: Path) -> None:
    file.mkdir()


def spoil_parent(file: Path) -> None:
    file.parent.rmdir()
    file.parent.write_bytes(b"a file")


def run(file: Path, statement: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(statement)
    connection.close()


UNUSABLE: dict[str, tuple[Callable[[Path], None], type[EdgeLLMError], str]] = {
    "text": (spoil_text, IntegrityError, "not a database"),
    "foreign": (spoil_foreign, IntegrityError, "not of edgellm's"),
    "foreign version": (spoil_foreign_version, IntegrityError, "not of edgellm's"),
    "no table": (spoil_table, IntegrityError, "damaged: cuts is not as"),
    "other column": (spoil_column, IntegrityError, "damaged: turns is not as"),
    "trigger": (spoil_trigger, IntegrityError, "triggers or views"),
    "newer": (spoil_newer, UnsupportedError, r"newer edgellm \(version 2.*Update edgellm$"),
    "emptied": (spoil_emptied, IntegrityError, "conversations.db-wal beside it holds changes"),
    "a folder": (spoil_folder, OutputError, "cannot be opened for writing"),
    "no folder": (spoil_parent, OutputError, "cannot be written"),
}


def files_of(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_file_that_cannot_be_used_is_one_clear_line_and_stays_as_it_is(
    folder: Path, case: str
) -> None:
    spoil, kind, text = UNUSABLE[case]
    folder.mkdir()
    spoil(folder / NAME)
    before = files_of(folder)
    with pytest.raises(kind, match=text) as caught:
        Database(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert files_of(folder) == before


@on_posix
@pytest.mark.parametrize("denied", ["folder", "file"])
def test_what_may_not_be_written_is_one_clear_line(folder: Path, denied: str) -> None:
    Database(folder).close()
    target, mode = (folder, 0o500) if denied == "folder" else (folder / NAME, 0o400)
    target.chmod(mode)
    if os.access(target, os.W_OK):
        pytest.skip("modes do not stop root")
    with pytest.raises(OutputError, match=r"conversations\.db: cannot be "):
        Database(folder)
    target.chmod(0o700)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(database: Database) -> None:
    catalog.create(database)
    turns.add_user(database, 1, None, "kept")
    pages = pragma(database, "page_count")
    pragma(database, f"max_page_count = {pages}")
    with pytest.raises(OutputError, match=r"conversations\.db: the disk is full.*Free some space"):
        turns.add_user(database, 1, None, "lost" * 10_000)
    assert [turn.content for turn in load(database, 1).turns.values()] == ["kept"]
    pragma(database, "max_page_count = 1000000")
    turns.add_user(database, 1, None, "room again")
    assert len(load(database, 1).turns) == 2


def test_a_lock_of_another_program_is_one_clear_line(folder: Path) -> None:
    with Database(folder) as other, Database(folder, busy_s=0.01) as database:
        catalog.create(database)
        with other.writing(), pytest.raises(OutputError, match=r"another program .* try again"):
            catalog.create(database)
        with other.writing():
            assert len(catalog.list_newest(database)) == 1
        catalog.create(database)
        assert len(catalog.list_newest(other)) == 2


def test_a_file_that_another_program_keeps_for_itself_cannot_be_opened(folder: Path) -> None:
    Database(folder).close()
    other = sqlite3.connect(folder / NAME, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("PRAGMA user_version = 1")
    with pytest.raises(OutputError, match="another program"):
        Database(folder, busy_s=0.01)
    other.close()
    Database(folder).close()


def test_opening_waits_while_another_program_makes_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    other = sqlite3.connect(folder / NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(time, "sleep", lambda seconds: other.close())
    Database(folder).close()


def test_one_version_of_the_tables_is_made_however_many_open_at_once(folder: Path) -> None:
    for attempt in range(10):
        place = folder / str(attempt)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda number, at=place: Database(at).close(), range(4)))
        with Database(place) as database:
            assert catalog.list_newest(database) == []


@pytest.mark.parametrize("lacking", ["old", "no fts5"])
def test_an_sqlite_that_cannot_search_is_refused_with_what_is_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "old":
        monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 33, 0))
    else:
        monkeypatch.setattr(schema, "_FTS5", "fts9")
    with pytest.raises(UnsupportedError, match=r"FTS5 with the trigram tokenizer.*newer Python"):
        Database(folder)


def test_a_closed_database_is_an_error_of_the_tree(folder: Path) -> None:
    database = Database(folder)
    database.close()
    database.close()
    with pytest.raises(EdgeLLMError):
        catalog.create(database)
