"""Turns as they are said: what each operation leaves in the file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.database import Database, Row, Value
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Attachment, Cut, Figures, Turn
from edgellm.errors import InputError

FIGURES = Figures(120, 100, 40, 0.25, 2.0, 0.3)


@pytest.fixture
def conversation(database: Database) -> int:
    return catalog.create(database, "Herons").id


@pytest.fixture
def question(database: Database, conversation: int) -> Turn:
    return turns.add_user(database, conversation, None, "What is a heron?")


def test_what_the_user_said_is_there_with_its_attachments(
    database: Database, conversation: int
) -> None:
    notes = (Attachment("notes.txt", "grey\0\r\n"), Attachment("", ""))
    added = turns.add_user(database, conversation, None, "See this", notes)
    loaded = load(database, conversation)
    assert loaded.turns == {added.id: added}
    assert loaded.head == added.id
    assert (added.role, added.content, added.attachments) == ("user", "See this", notes)


def test_an_answer_is_unfinished_with_its_pieces_until_it_ends(
    database: Database, conversation: int, question: Turn
) -> None:
    answer = turns.begin_answer(database, conversation, question.id, "qwen")
    turns.append_piece(database, answer.id, "", "A bird. ")
    turns.append_piece(database, answer.id, "It is ", "I think.")
    turns.append_piece(database, answer.id, "a bird. ")
    begun = load(database, conversation).turns[answer.id]
    assert (begun.content, begun.reasoning) == ("It is a bird. ", "A bird. I think.")
    assert begun.ending == "unfinished"
    assert begun.is_partial
    turns.finish_answer(database, answer.id, "A bird.", "Sure.", "end", FIGURES)
    ended = load(database, conversation).turns[answer.id]
    assert (ended.content, ended.reasoning) == ("A bird.", "Sure.")
    assert (ended.ending, ended.model, ended.figures) == ("end", "qwen", FIGURES)
    assert not ended.is_partial


def test_an_answer_that_ends_while_it_is_loaded_is_loaded_as_it_was(
    folder: Path, database: Database, question: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = turns.begin_answer(database, 1, question.id, "qwen").id
    turns.append_piece(database, answer, "A bird. ")
    rows = database.rows

    def meanwhile(kinds: Row, statement: str, *values: Value) -> Iterator[Row]:
        if "FROM pieces" in statement:
            with Database(folder) as other:
                turns.finish_answer(other, answer, "A bird. Yes.", "", "end")
        return rows(kinds, statement, *values)

    monkeypatch.setattr(database, "rows", meanwhile)
    assert load(database, 1).turns[answer].content == "A bird. "
    monkeypatch.undo()
    assert load(database, 1).turns[answer].content == "A bird. Yes."


def test_an_edit_and_another_answer_are_siblings(
    database: Database, conversation: int, question: Turn
) -> None:
    first = turns.begin_answer(database, conversation, question.id, "qwen")
    turns.finish_answer(database, first.id, "A fish.", "Hm.", "length")
    answer = load(database, conversation).turns[first.id]
    edited = turns.add_edited(database, conversation, answer, "A bird.")
    asked = turns.add_user(database, conversation, question.parent, "And an egret?")
    loaded = load(database, conversation)
    assert loaded.siblings(first.id) == (first.id, edited.id)
    assert loaded.siblings(question.id) == (question.id, asked.id)
    assert (edited.content, edited.reasoning, edited.ending) == ("A bird.", "Hm.", "edited")
    assert loaded.turns[first.id] == answer


def test_an_answer_without_a_word_is_dropped_and_the_head_goes_back(
    database: Database, conversation: int, question: Turn
) -> None:
    answer = turns.begin_answer(database, conversation, question.id, "qwen")
    turns.append_piece(database, answer.id, "", "Hm. ")
    assert turns.drop_answer(database, answer.id)
    loaded = load(database, conversation)
    assert loaded.turns == {question.id: question}
    assert loaded.head == question.id


def test_a_dropped_answer_moves_no_head_that_is_elsewhere(
    database: Database, conversation: int, question: Turn
) -> None:
    answer = turns.begin_answer(database, conversation, question.id, "qwen")
    elsewhere = turns.add_user(database, conversation, None, "Another question")
    assert turns.drop_answer(database, answer.id)
    assert load(database, conversation).head == elsewhere.id


def test_an_answer_that_another_program_has_gone_on_from_is_not_dropped(
    database: Database, conversation: int, question: Turn
) -> None:
    answer = turns.begin_answer(database, conversation, question.id, "qwen")
    turns.add_user(database, conversation, answer.id, "Go on")
    assert not turns.drop_answer(database, answer.id)
    assert len(load(database, conversation).path()) == 3


def test_an_id_is_never_used_twice(database: Database, conversation: int, question: Turn) -> None:
    dropped = turns.begin_answer(database, conversation, question.id, "qwen")
    turns.drop_answer(database, dropped.id)
    assert turns.add_user(database, conversation, None, "").id > dropped.id
    catalog.delete(database, conversation)
    assert catalog.create(database).id > conversation


def test_half_a_character_becomes_a_replacement(database: Database, conversation: int) -> None:
    torn = "a\ud83db\ud83d\ude00"
    turn = turns.add_user(database, conversation, None, torn, [Attachment(torn, torn)])
    whole = "a\ufffdb\U0001f600"
    assert (turn.content, turn.attachments) == (whole, (Attachment(whole, whole),))
    assert load(database, conversation).turns == {turn.id: turn}


def test_a_cut_is_put_replaced_and_taken_back(
    database: Database, conversation: int, question: Turn
) -> None:
    turns.add_cut(database, conversation, Cut(question.id, "first"))
    turns.add_cut(database, conversation, Cut(question.id, ""))
    assert load(database, conversation).cuts == {question.id: Cut(question.id, "")}
    turns.remove_cut(database, question.id)
    turns.remove_cut(database, question.id)
    assert load(database, conversation).cuts == {}


GONE: dict[str, Callable[[Database, int, int], object]] = {
    "add_user": lambda database, there, turn: turns.add_user(database, 99, None, "a"),
    "a foreign parent": lambda database, there, turn: turns.add_user(database, there, 99, "a"),
    "begin_answer": lambda database, there, turn: turns.begin_answer(database, there, 99, "m"),
    "append_piece": lambda database, there, turn: turns.append_piece(database, turn, "a"),
    "finish_answer": lambda database, there, turn: turns.finish_answer(
        database, turn, "a", "", "end"
    ),
    "drop_answer": lambda database, there, turn: turns.drop_answer(database, turn),
    "add_cut": lambda database, there, turn: turns.add_cut(database, there, Cut(99, "")),
    "set_head": lambda database, there, turn: catalog.set_head(database, there, 99),
    "rename": lambda database, there, turn: catalog.rename(database, 99, "a"),
    "delete": lambda database, there, turn: catalog.delete(database, 99),
    "load": lambda database, there, turn: load(database, 99),
}


@pytest.mark.parametrize("operation", GONE)
def test_what_is_gone_or_has_ended_is_refused_and_nothing_changes(
    database: Database, conversation: int, question: Turn, operation: str
) -> None:
    answer = turns.begin_answer(database, conversation, question.id, "qwen")
    turns.finish_answer(database, answer.id, "A bird.", "", "end")
    other = catalog.create(database)
    before = load(database, conversation)
    with pytest.raises(InputError, match=r"conversations\.db: "):
        GONE[operation](database, other.id, answer.id)
    assert load(database, conversation) == before
    assert catalog.list_newest(database)[0].turns in (0, 2)


def test_a_turn_of_another_conversation_is_no_parent_head_or_cut(
    database: Database, conversation: int, question: Turn
) -> None:
    other = catalog.create(database).id
    for refused in (
        lambda: turns.add_user(database, other, question.id, ""),
        lambda: catalog.set_head(database, other, question.id),
        lambda: turns.add_cut(database, other, Cut(question.id, "")),
    ):
        with pytest.raises(InputError, match=f"conversation {other} has no turn {question.id}"):
            refused()
