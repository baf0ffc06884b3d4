"""The tables of conversations.db: set up, checked on opening, brought up to date.

    conversations   id, uid, title, system, settings (a JSON object), model, head (id of a turn or
                    null), created_ms, updated_ms
    turns           id, conversation, parent (id of an older turn or null), role, ending, model,
                    created_ms, figures (a JSON object or null), content, reasoning
    attachments     turn, number, name, text
    pieces          turn, number, kind ("content" or "reasoning"), text: what is said so far in a
                    turn that is "unfinished", after the turn's own content and reasoning
    cuts            turn, summary
    presets         name, text
    remembered      name, text
    search          full-text index over turns.content, case folded: see search.py

Ids are never used twice, so that what another program remembers cannot come to mean another turn.
`user_version` is the version of all this, `application_id` says that it is edgellm's.
"""

import sqlite3
from pathlib import Path

from edgellm.apps.chat.conversations.faults import damaged
from edgellm.errors import IntegrityError, UnsupportedError

APPLICATION_ID = 0x6564_6765  # "edge"
_FTS5 = "fts5"
_TRIGRAMS_SINCE = (3, 34, 0)

_CONVERSATIONS = """CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    system TEXT NOT NULL,
    settings TEXT NOT NULL,
    model TEXT NOT NULL,
    head INTEGER,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
)"""
# The short columns come first: what follows a long one is slow to reach.
_TURNS = """CREATE TABLE turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    parent INTEGER CHECK (parent < id),
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    ending TEXT NOT NULL,
    model TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    figures TEXT,
    content TEXT NOT NULL,
    reasoning TEXT NOT NULL
)"""
_ATTACHMENTS = """CREATE TABLE attachments (
    turn INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (turn, number)
)"""
_PIECES = """CREATE TABLE pieces (
    turn INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('content', 'reasoning')),
    text TEXT NOT NULL,
    PRIMARY KEY (turn, number)
) WITHOUT ROWID"""
_CUTS = """CREATE TABLE cuts (
    turn INTEGER PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    summary TEXT NOT NULL
)"""
_NAMED_TEXTS = """CREATE TABLE {} (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL
) WITHOUT ROWID"""
# Which trigrams a turn has is enough, as the text itself is looked at before a turn counts as
# found; with their places the index would be five times as large.
_SEARCH = """CREATE VIRTUAL TABLE search USING fts5 (
    content, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
)"""
_FIRST = {
    "conversations": _CONVERSATIONS,
    "turns": _TURNS,
    "attachments": _ATTACHMENTS,
    "pieces": _PIECES,
    "cuts": _CUTS,
    "presets": _NAMED_TEXTS.format("presets"),
    "remembered": _NAMED_TEXTS.format("remembered"),
    "search": _SEARCH,
    "conversations_by_time": "CREATE INDEX conversations_by_time ON conversations (updated_ms)",
    "turns_by_conversation": "CREATE INDEX turns_by_conversation ON turns (conversation)",
}
# Entry n brings a database from version n to n + 1. To change the schema, append an entry with
# the objects it makes, and test it on a database of each earlier version.
_STEPS = (_FIRST,)
VERSION = len(_STEPS)


def require_full_text_search(connection: sqlite3.Connection) -> None:
    """Raise UnsupportedError unless this Python's SQLite can index trigrams."""
    modules = "SELECT count(*) FROM pragma_module_list WHERE name = ?"
    has_fts5 = connection.execute(modules, (_FTS5,)).fetchone() == (1,)
    if not has_fts5 or sqlite3.sqlite_version_info < _TRIGRAMS_SINCE:
        raise UnsupportedError(
            f"SQLite {sqlite3.sqlite_version} of this Python cannot search conversations, which "
            "needs FTS5 with the trigram tokenizer, as in SQLite 3.34 or newer",
            next_step="Use a newer Python, such as one from python.org or uv",
        )


def stored_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the schema in a file; 0 for an empty one.

    Raises IntegrityError for another program's database, UnsupportedError for a newer version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if not (version or application or objects):
        return 0
    if application != APPLICATION_ID or version < 1:
        raise IntegrityError(
            f"{path}: a database, but not of edgellm's conversations; move it away"
        )
    if version > VERSION:
        raise UnsupportedError(
            f"{path}: written by a newer edgellm (version {version} of its tables)",
            [f"up to {VERSION}"],
            "Update edgellm",
        )
    return int(version)


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables from `version` to VERSION; the caller holds the transaction."""
    for step in _STEPS[version:]:
        for statement in step.values():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise IntegrityError unless the tables are as edgellm makes them, without code of others."""
    found = dict(connection.execute("SELECT name, sql FROM sqlite_schema"))
    for step in _STEPS:
        for name, statement in step.items():
            if found.get(name) != statement:
                raise damaged(path, f"{name} is not as edgellm makes it")
    code = connection.execute(
        "SELECT count(*) FROM sqlite_schema WHERE type IN ('trigger', 'view')"
    )
    if code.fetchone() != (0,):
        raise damaged(path, "it holds triggers or views, which edgellm never makes")
