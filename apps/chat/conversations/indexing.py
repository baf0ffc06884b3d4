"""The full-text index: at any time it holds the `content` of every turn, and nothing else.

It knows the trigrams of the folded text by turn, so taking a turn out needs the text that went in.
One character is added to the text's end, so that every pair of its characters begins a trigram.
"""

from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.texts import fold

_STAND_IN = "\ufffd"
_MERGED_PAGES = 500  # in one transaction


def index_turn(database: Database, turn: int, content: str) -> None:
    """Add a turn; inside a transaction."""
    if content:
        database.change(
            "INSERT INTO search (rowid, content) VALUES (?, ?)", turn, _indexed_content(content)
        )


def unindex_turn(database: Database, turn: int, content: str) -> None:
    """Take out a turn, whose stored content is given; inside a transaction."""
    if content:
        database.change(
            "INSERT INTO search (search, rowid, content) VALUES ('delete', ?, ?)",
            turn,
            _indexed_content(content),
        )


def unindex_conversation(database: Database, conversation: int) -> None:
    """Take out all its turns; inside a transaction."""
    turns = "SELECT id, content FROM turns WHERE conversation = ?"
    for turn, content in list(database.rows((int, str), turns, conversation)):
        unindex_turn(database, turn, content)


def merge_index(database: Database) -> None:
    """Make one part of the index's parts: until then it keeps what was taken out, marked as such.

    Takes the longer the more there is, in transactions so short that no other program waits:
    `delete_ms` of `python -m benchmarks.chat.store`.
    """
    begin = -_MERGED_PAGES  # less than 0: whatever the parts' sizes are
    while _merge(database, begin):
        begin = _MERGED_PAGES


def _merge(database: Database, pages: int) -> bool:
    """Merge some pages; whether there may be more to do, which FTS5 tells by what has changed."""
    with database.writing():
        ((before,),) = database.rows((int,), "SELECT total_changes()")
        database.change("INSERT INTO search (search, rank) VALUES ('merge', ?)", pages)
        ((after,),) = database.rows((int,), "SELECT total_changes()")
    return bool(after - before > 1)


def indexed(folded: str) -> str:
    """Folded text as the index sees it: SQLite's tokenizer would stop at a NUL."""
    return folded.replace("\0", _STAND_IN)


def _indexed_content(content: str) -> str:
    return indexed(fold(content)) + _STAND_IN
