"""The list of conversations, and the small things beside it."""

from typing import Any

import pytest
from hypothesis import given, settings

from edgellm.apps.chat.conversations import catalog, remembered, turns
from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.json_form import to_json
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Preset
from tests.apps.chat.conversations.samples import conversations


@given(conversations())
@settings(max_examples=60, deadline=None)
def test_a_stored_conversation_is_the_one_that_was_given(
    shared: Database, conversation: Conversation
) -> None:
    stored = catalog.add(shared, conversation)
    assert to_json(load(shared, stored.id)) == to_json(conversation)
    assert len(stored.uid) == 32


@pytest.mark.usefixtures("ticking")
def test_the_list_has_the_conversation_that_was_spoken_in_last_first(database: Database) -> None:
    first, second, third = (catalog.create(database, title).id for title in "abc")
    turns.add_user(database, first, None, "  to the\n\x1blast  one ")
    catalog.rename(database, second, "B")
    listed = catalog.list_newest(database)
    assert [(item.id, item.title, item.turns) for item in listed] == [
        (first, "a", 1),
        (third, "c", 0),
        (second, "B", 0),
    ]
    assert [item.excerpt for item in listed] == ["to the last one", "", ""]
    assert catalog.list_newest(database, 1, 1) == listed[1:2]
    assert {item.uid for item in listed} == {load(database, n).uid for n in (1, 2, 3)}


def test_an_excerpt_is_short_however_long_the_text_is(database: Database) -> None:
    catalog.create(database)
    turns.add_user(database, 1, None, "word " * 1000)
    (listed,) = catalog.list_newest(database)
    assert 100 < len(listed.excerpt) <= 120
    assert listed.excerpt.endswith("…")


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (catalog.rename, "title", "T"),
        (catalog.set_system, "system", "Be\0brief"),
        (catalog.set_settings, "settings", {"temperature": 0.5, "stop": ["\ud800"]}),
        (catalog.set_model, "model", "qwen"),
        (catalog.set_head, "head", 1),
        (catalog.set_head, "head", None),
    ],
)
def test_a_change_is_there_when_it_is_loaded_again(
    database: Database, change: Any, field: str, value: object
) -> None:
    catalog.create(database)
    for text in "ab":
        turns.add_user(database, 1, None, text)
    before = load(database, 1)
    change(database, 1, value)
    after = load(database, 1)
    assert getattr(after, field) == value
    setattr(after, field, getattr(before, field))
    assert after == before


def test_a_deleted_conversation_is_gone_from_every_table_and_from_the_disk(
    database: Database,
) -> None:
    kept = catalog.create(database, "kept")
    turns.add_user(database, kept.id, None, "other words")
    doomed = catalog.create(database, "doomed")
    said = turns.add_user(database, doomed.id, None, "Zxqj vwkq")
    answer = turns.begin_answer(database, doomed.id, said.id, "m")
    turns.append_piece(database, answer.id, "Qkzw xvvj. ")
    assert catalog.delete(database, doomed.id) == doomed.uid
    assert [item.id for item in catalog.list_newest(database)] == [kept.id]
    raw = b"".join(path.read_bytes().lower() for path in database.path.parent.iterdir())
    assert b"other words" in raw
    assert not [text for text in (b"zxq", b"vwk", b"qkz", b"xvv", b"doomed") if text in raw]


def test_presets_are_kept_by_name(database: Database) -> None:
    for preset in (Preset("b", "1"), Preset("a", "2"), Preset("b", "3"), Preset("c", "")):
        remembered.save_preset(database, preset)
    remembered.delete_preset(database, "c")
    remembered.delete_preset(database, "never there")
    assert remembered.list_presets(database) == [Preset("a", "2"), Preset("b", "3")]


def test_a_choice_is_remembered_until_another_is_made(database: Database) -> None:
    assert remembered.recall(database, "theme") is None
    remembered.remember(database, "theme", "dark")
    remembered.remember(database, "theme", "")
    assert remembered.recall(database, "theme") == ""


def test_the_users_texts_come_newest_first_and_once_each(database: Database) -> None:
    catalog.create(database)
    for text in ("a", "b", "a", "c", "b"):
        turns.add_user(database, 1, None, text)
    turns.begin_answer(database, 1, 1, "m")
    assert remembered.list_said(database) == ["b", "c", "a"]
    assert remembered.list_said(database, 2) == ["b", "c"]
    for _ in range(10):
        turns.add_user(database, 1, None, "again")
    assert remembered.list_said(database, 2) == ["again", "b"]
