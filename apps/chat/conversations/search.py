"""Finding turns by what was said.

Every word of a query must be somewhere in a turn's content, as it is, whatever the case of its
letters. The index proposes turns that have all trigrams of the words; each is then looked at. For
words of two characters it proposes turns with any trigram that begins so; a query of single
characters looks at every turn. Turns that are unfinished are looked at with their pieces, so they
are found while they are written and after their program has died. Nothing of a query is ever
syntax.
"""

import sys
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
_PAIR = 2
_MOST_TRIGRAMS = 32  # of a query's words; looking at the turn decides in any case
_MOST_PAIRS = 8  # of a query
_MOST_BEGINNINGS = 500  # trigrams that begin with a pair; a pair with more is in very many turns

_FOUND = """SELECT turns.id, turns.conversation, title, updated_ms, turns.content
    FROM {} JOIN conversations ON conversations.id = turns.conversation {}"""
_BY_INDEX = _FOUND.format(
    "search CROSS JOIN turns ON turns.id = search.rowid",
    "WHERE search MATCH ? ORDER BY search.rowid DESC",
)
_BY_LOOKING = _FOUND.format("turns", "ORDER BY turns.id DESC")
_IN_PIECES = _FOUND.format("turns", "WHERE turns.id IN (SELECT turn FROM pieces)")
_PIECES = "SELECT turn, text FROM pieces WHERE kind = 'content' ORDER BY turn, number"
_BEGINNINGS = "SELECT term FROM terms WHERE term >= ? AND term <= ? LIMIT ?"
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
    choices = [[trigram] for trigram in _trigrams(words)] or _choices_by_pairs(database, words)
    if not choices:
        yield from database.rows(_KINDS, _BY_LOOKING)
    elif all(choices):
        asked = (" OR ".join(map(_quoted, choice)) for choice in choices)
        yield from database.rows(_KINDS, _BY_INDEX, " AND ".join(f"({part})" for part in asked))


def _choices_by_pairs(database: Database, words: Sequence[str]) -> list[list[str]]:
    """For each word of two characters, trigrams of which a turn that has it must have one."""
    database.change(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.terms USING fts5vocab(main, search, row)"
    )
    choices = []
    pairs = dict.fromkeys(indexed(word) for word in words if len(word) == _PAIR)
    for pair in islice(pairs, _MOST_PAIRS):
        last = pair + chr(sys.maxunicode)
        found = list(database.rows((str,), _BEGINNINGS, pair, last, _MOST_BEGINNINGS + 1))
        if len(found) <= _MOST_BEGINNINGS:
            choices.append([trigram for (trigram,) in found])
    return choices


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
