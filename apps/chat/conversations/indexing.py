"""The full-text index: at any time it holds the `content` of every turn, and nothing else.

It knows the trigrams of the folded text by turn, so taking a turn out needs the text that went in.
"""

from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.texts import fold


def index_turn(database: Database, turn: int, content: str) -> None:
    """Add a turn; inside a transaction."""
    if content:
        database.change(
            "INSERT INTO search (rowid, content) VALUES (?, ?)", turn, indexed(fold(content))
        )


def unindex_turn(database: Database, turn: int, content: str) -> None:
    """Take out a turn, whose stored content is given; inside a transaction."""
    if content:
        database.change(
            "INSERT INTO search (search, rowid, content) VALUES ('delete', ?, ?)",
            turn,
            indexed(fold(content)),
        )


def unindex_conversation(database: Database, conversation: int) -> None:
    """Take out all its turns, down to the last trace; inside a transaction."""
    turns = "SELECT id, content FROM turns WHERE conversation = ?"
    for turn, content in list(database.rows((int, str), turns, conversation)):
        unindex_turn(database, turn, content)
    # Until its parts are merged, the index keeps what was deleted beside a note that it was.
    database.change("INSERT INTO search (search) VALUES ('optimize')")


def indexed(folded: str) -> str:
    """Folded text as the index sees it: SQLite's tokenizer would stop at a NUL."""
    return folded.replace("\0", "\ufffd")
