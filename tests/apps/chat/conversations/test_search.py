"""Searching, against a search through every text."""

from collections.abc import Collection
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.records import Hit, Turn
from edgellm.apps.chat.conversations.search import search
from edgellm.apps.chat.conversations.texts import whole
from tests.apps.chat.conversations.samples import any_text

half_texts = st.text(st.characters(codec=None), max_size=8)
letters = st.text("abcABC ß\0\u03c3\u03a3\u03c2", max_size=12)


def say(database: Database, *texts: str) -> list[int]:
    """Ids of turns with these contents, in a conversation of their own."""
    said = {number: Turn(number, None, "user", text) for number, text in enumerate(texts, 1)}
    return list(catalog.add(database, Conversation(0, "", "C", turns=said)).turns)


def found(database: Database, query: str, among: Collection[int] | None = None) -> list[int]:
    """Ids of the turns found, of these only where there are others in the database."""
    hits = [hit.turn for hit in search(database, query, 100_000)]
    return hits if among is None else [turn for turn in hits if turn in among]


def has_all_words(content: str, query: str) -> bool:
    return all(word in content.casefold() for word in query.casefold().split())


@given(any_text, any_text, any_text)
@settings(max_examples=120, deadline=None)
def test_any_text_finds_the_turn_that_contains_it(
    shared: Database, before: str, text: str, after: str
) -> None:
    said = say(shared, before + text + after)
    assert found(shared, text, said) == (said if text.split() else [])


@given(st.lists(half_texts, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_halves_of_characters_are_searched_for_as_they_are_stored(
    shared: Database, parts: list[str]
) -> None:
    said = say(shared, "".join(parts))
    for part in parts:
        query = whole(part)
        is_there = bool(query.split()) and has_all_words(whole("".join(parts)), query)
        assert found(shared, part, said) == (said if is_there else [])


@given(st.lists(letters, max_size=6), st.lists(letters, max_size=6))
@settings(max_examples=60, deadline=None)
def test_what_is_found_is_what_has_every_word(
    shared: Database, contents: list[str], queries: list[str]
) -> None:
    said = dict(zip(say(shared, *contents), contents, strict=True))
    for query in queries:
        expected = [turn for turn in said if query.split() and has_all_words(said[turn], query)]
        assert found(shared, query, said) == expected[::-1]


@given(letters.filter(str.strip), st.text("ab ß\u0130\n\0", max_size=300), st.data())
@settings(max_examples=100, deadline=None)
def test_every_mark_is_a_place_of_the_line_that_a_word_made(
    shared: Database, word: str, around: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(around)))
    (turn,) = say(shared, around[:place] + word + around[place:])
    hit = next(hit for hit in search(shared, word) if hit.turn == turn)
    assert hit.marks
    edges = [edge for mark in hit.marks for edge in mark]
    assert all(low < high for low, high in pairwise(edges))
    assert 0 <= edges[0] < edges[-1] <= len(hit.excerpt) <= 162
    assert "\n" not in hit.excerpt


def test_a_hit_says_where_it_is_and_marks_every_word(database: Database) -> None:
    (turn,) = say(database, "x" * 300 + " The Old\nletter, the OLD man " + "y" * 300)
    (hit,) = search(database, "old LETTER")
    assert (hit.conversation, hit.turn, hit.title) == (1, turn, "C")
    assert hit.updated_ms == catalog.list_newest(database)[0].updated_ms
    assert hit.excerpt.startswith("…xxxx")
    assert hit.excerpt.endswith("yyyy…")
    marked = [hit.excerpt[start:end] for start, end in hit.marks]
    assert marked == ["Old", "letter", "OLD"]
    assert "The Old letter" in hit.excerpt


def test_the_newest_are_found_first_and_no_more_than_asked_for(database: Database) -> None:
    ids = say(database, *("an old letter" for _ in range(9)))
    assert [hit.turn for hit in search(database, "letter", 4)] == ids[:-5:-1]
    assert [hit.turn for hit in search(database, "an", 4)] == ids[:-5:-1]


def test_an_answer_is_found_while_it_is_written_and_by_its_last_text_after_that(
    database: Database,
) -> None:
    (question,) = say(database, "question")
    answer = turns.begin_answer(database, 1, question, "m").id
    turns.append_piece(database, answer, "An early he", "thought of egrets")
    turns.append_piece(database, answer, "ron. ")
    assert found(database, "EARLY heron") == [answer]
    assert found(database, "he") == [answer]
    assert found(database, "egrets") == []
    turns.finish_answer(database, answer, "A late stork.", "", "end")
    assert found(database, "heron") == []
    assert found(database, "stork") == [answer]


def test_an_unfinished_answer_that_was_imported_is_found_by_its_last_text_only(
    database: Database,
) -> None:
    begun = Turn(1, None, "assistant", "An early heron.", ending="unfinished")
    (answer,) = catalog.add(database, Conversation(0, "", turns={1: begun})).turns
    turns.append_piece(database, answer, " Late.")
    assert found(database, "early heron. late") == [answer]
    turns.finish_answer(database, answer, "A stork.", "", "end")
    ids = "SELECT count(*) FROM search WHERE search MATCH ?"
    assert list(database.rows((int,), ids, '"her"')) == [(0,)]
    assert list(database.rows((int,), ids, '"sto"')) == [(1,)]


def test_a_dropped_answer_and_a_deleted_conversation_are_not_found(database: Database) -> None:
    (question,) = say(database, "a grey heron")
    answer = turns.begin_answer(database, 1, question, "m").id
    turns.append_piece(database, answer, "a white heron")
    assert found(database, "heron") == [answer, question]
    turns.drop_answer(database, answer)
    assert found(database, "heron") == [question]
    catalog.delete(database, 1)
    assert found(database, "heron") == []
    assert found(database, "gr") == []


@pytest.mark.parametrize("query", ["", " \n\u3000"])
def test_a_query_without_a_word_finds_nothing(database: Database, query: str) -> None:
    say(database, "", "a  b")
    assert search(database, query) == []


def test_a_pair_of_characters_is_found_wherever_it_is(database: Database) -> None:
    followed = " ".join(f"ab{chr(0x4E00 + number)}" for number in range(600))
    first, second, third = say(database, "\u82cd\u9e6d", "has ab", followed)
    assert found(database, "\u82cd\u9e6d") == [first]
    assert found(database, "AB") == [third, second]
    assert found(database, "ab as") == [second]
    assert found(database, "as \u82cd\u9e6d") == []
    assert found(database, "ba") == []


def test_a_query_of_very_many_pairs_is_answered(database: Database) -> None:
    query = " ".join(chr(0x4E00 + number) + "b" for number in range(300))
    turn, _ = say(database, query, query[:-1])
    assert found(database, query) == [turn]


def test_a_very_long_word_is_looked_for_whole(database: Database) -> None:
    long = "".join(chr(0x4E00 + number % 20_000) for number in range(100_000))
    turn, _ = say(database, f"see {long}.", f"see {long[:50_000]}x{long[50_000:]}")
    hits: list[Hit] = search(database, long)
    assert [hit.turn for hit in hits] == [turn]
    assert hits[0].marks == ((4, 160),)
