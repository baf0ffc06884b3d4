"""Finding turns by what was said.

Every word of a query must be somewhere in a turn's content, as it is, whatever the case of its
letters. The index proposes turns that have all trigrams of the words; each is then looked at. A
query whose words are all shorter than three characters looks at every turn. Turns that are
unfinished are looked at with their pieces, so they are found while they are written and after their
program has died; nothing of a query is ever syntax.
"""

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice

from edgellm.apps.chat.conversations.database import Database, Row
from edgellm.apps.chat.conversations.excerpts import excerpt_around
from edgellm.apps.chat.conversations.indexing import indexed
from edgellm.apps.chat.conversations.records import Hit
from edgellm.apps.chat.conversations.texts import fold, whole

_TRIGRAM = 3
_MOST_TRIGRAMS = 32  # asked of the index; looking at the turn decides in any case

_FOUND = """SELECT turns.id, turns.conversation, title, updated_ms, turns.content
    FROM {} JOIN conversations ON conversations.id = turns.conversation {}"""
_BY_INDEX = _FOUND.format(
    "search CROSS JOIN turns ON turns.id = search.rowid",
    "WHERE search MATCH ? ORDER BY search.rowid DESC",
)
_BY_LOOKING = _FOUND.format("turns", "ORDER BY turns.id DESC")
_IN_PIECES = _FOUND.format("turns", "WHERE turns.id IN (SELECT turn FROM pieces)")
_PIECES = "SELECT turn, text FROM pieces WHERE kind = 'content' ORDER BY turn, number"
_KINDS = (int, int, str, int, str)


def search(database: Database, text: str, limit: int = 50) -> list[Hit]:
    """The newest turns that have every word of `text`, newest first; none without a word."""
    words = fold(whole(text)).split()
    if not words:
        return []
    with database.reading():
        found = {row[0]: row for row in _matching(_unfinished(database), words)}
        with closing(_proposed(database, words)) as proposed:
            for row in islice(_matching(proposed, words), limit):
                found.setdefault(row[0], row)
    return [_hit(found[turn], words) for turn in sorted(found, reverse=True)[:limit]]


def _matching(rows: Iterable[Row], words: Sequence[str]) -> Iterator[Row]:
    for row in rows:
        folded = fold(row[-1])
        if all(word in folded for word in words):
            yield row


def _proposed(database: Database, words: Sequence[str]) -> Generator[Row, None, None]:
    """Turns that may have the words, newest first."""
    if trigrams := _trigrams(words):
        return database.rows(_KINDS, _BY_INDEX, " AND ".join(map(_quoted, trigrams)))
    return database.rows(_KINDS, _BY_LOOKING)


def _trigrams(words: Sequence[str]) -> list[str]:
    """What the index knows of the words; of very long ones, trigrams from all over."""
    every = dict.fromkeys(
        word[at : at + _TRIGRAM] for word in words for at in range(len(word) - _TRIGRAM + 1)
    )
    return list(every)[:: -(-len(every) // _MOST_TRIGRAMS) or 1]


def _quoted(trigram: str) -> str:
    """As a string of FTS5's query language, which doubles a quotation mark and knows no other."""
    return '"' + indexed(trigram).replace('"', '""') + '"'


def _unfinished(database: Database) -> Iterator[Row]:
    """Turns that have pieces, with all of their content."""
    said: defaultdict[int, list[str]] = defaultdict(list)
    for turn, piece in database.rows((int, str), _PIECES):
        said[turn].append(piece)
    for *facts, content in database.rows(_KINDS, _IN_PIECES):
        yield (*facts, content + "".join(said[facts[0]]))


def _hit(row: Row, words: Sequence[str]) -> Hit:
    turn, conversation, title, updated_ms, content = row
    excerpt, marks = excerpt_around(content, words)
    return Hit(conversation, turn, title, excerpt, marks, updated_ms)
