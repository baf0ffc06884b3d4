"""Conversations in JSON files: there and back, and what strangers may put into one."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from edgellm.apps.chat.conversations import catalog, json_form, portable
from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.portable import export_json, read_portable
from edgellm.apps.chat.conversations.records import Turn
from edgellm.errors import FormatError, InputError, OutputError
from tests.apps.chat.conversations.samples import conversations, refusal_in_one_line


@given(conversations())
@settings(max_examples=100, deadline=None)
def test_everything_comes_back_from_json(conversation: Conversation) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chat.json"
        export_json(conversation, path)
        assert read_portable(path) == conversation


def test_an_imported_conversation_is_a_new_one(database: Database, tmp_path: Path) -> None:
    first = catalog.add(database, sample())
    export_json(load(database, first.id), tmp_path / "chat.json")
    second = catalog.add(database, read_portable(tmp_path / "chat.json"))
    assert second.uid != first.uid
    assert not set(second.turns) & set(first.turns)
    assert json_form.to_json(second) == json_form.to_json(first)
    assert json_form.to_json(load(database, first.id)) == json_form.to_json(first)


def test_turns_of_a_damaged_tree_are_exported_as_they_are_shown(tmp_path: Path) -> None:
    circle = {1: Turn(1, 2, "user", "a"), 2: Turn(2, 1, "user", "b"), 3: Turn(3, 9, "user", "c")}
    damaged = Conversation(1, "", head=2, turns=circle)
    export_json(damaged, tmp_path / "chat.json")
    read = read_portable(tmp_path / "chat.json")
    assert [turn.content for turn in read.path()] == ["a", "b"]
    assert len(read.children(None)) == 2


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        export_json(sample(), tmp_path / "nowhere" / "chat.json")


def sample() -> Conversation:
    asked = Turn(1, None, "user", "What is a heron?", created_ms=1)
    answer = Turn(2, 1, "assistant", "A bird.", ending="end", created_ms=2)
    other = replace(answer, id=3, content="A fish.", ending="length")
    return Conversation(0, "", "Herons", head=2, turns={1: asked, 2: answer, 3: other})


def document() -> dict[str, Any]:
    made = json_form.to_json(sample())
    made["cuts"] = [{"turn": 1, "summary": "asked"}]
    return made


def deep(levels: int) -> dict[str, object]:
    return {"a": deep(levels - 1)} if levels else {}


def change(place: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Put a value at a place such as "turns.0.role"."""

    def put(made: Any) -> None:
        *way, last = place.split(".")
        for key in way:
            made = made[int(key) if isinstance(made, list) else key]
        made[int(last) if isinstance(made, list) else last] = value

    return put


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (change("schema_version", 2), "schema_version is 2; this edgellm reads 1"),
    "unknown": (change("theirs", 1), "theirs is unknown"),
    "missing": (lambda made: made.pop("head"), "head is missing"),
    "title": (change("title", 7), "title is 7; expected text"),
    "null title": (change("title", None), "title is None; expected text"),
    "half": (change("turns.0.content", "a\ud800"), r"turns\[0\].content holds half a character"),
    "half name": (change("model", "\udfff"), "model holds half a character"),
    "role": (change("turns.0.role", "system"), r"turns\[0\].role is 'system'; expected one of"),
    "user's ending": (
        change("turns.0.ending", "end"),
        r"turns\[0\].ending is 'end'; expected none",
    ),
    "ending": (change("turns.1.ending", "never"), r"turns\[1\].ending is 'never'; expected one of"),
    "no ending": (change("turns.1.ending", ""), r"turns\[1\].ending is ''; expected one of"),
    "itself": (
        change("turns.0.parent", 1),
        r"turns\[0\].parent is 1; expected null or the id of an",
    ),
    "circle": (
        change("turns.0.parent", 2),
        r"turns\[0\].parent is 2; expected null or the id of an",
    ),
    "no parent": (change("turns.1.parent", 9), r"turns\[1\].parent is 9; expected null or the id"),
    "flag": (change("turns.1.parent", True), r"turns\[1\].parent is True; expected an integer"),
    "same id": (change("turns.1.id", 1), r"turns\[1\].id is 1; expected more than the 1 before it"),
    "zero id": (change("turns.0.id", 0), r"turns\[0\].id is 0; expected an integer of at least 1"),
    "huge id": (change("turns.2.id", 2**63), r"turns\[2\].id is 9223372036854775808; expected an"),
    "time": (change("turns.0.created_ms", -1), r"turns\[0\].created_ms is -1; expected an integer"),
    "head": (change("head", 4), "head is 4; expected null or the id of an earlier turn"),
    "turn": (change("turns.1", []), r"turns\[1\] is \[\]; expected an object"),
    "turns": (change("turns", {}), "turns is {}; expected a list"),
    "files": (
        change("turns.0.attachments", [{"name": "a"}]),
        r"turns\[0\].attachments\[0\].text is m",
    ),
    "figures": (change("turns.1.figures", {}), r"turns\[1\].figures.prompt_tokens is missing"),
    "cut": (change("cuts.0.turn", 8), r"cuts\[0\].turn is 8; expected null or the id"),
    "null cut": (change("cuts.0.turn", None), r"cuts\[0\].turn is null or has a cut already"),
    "settings": (change("settings", []), r"settings is \[\]; expected an object"),
    "deep": (change("settings", deep(17)), "settings is nested deeper than 16 levels"),
    "long": (change("settings", {"a": "b" * 70_000}), "settings is longer than 65536 characters"),
    "half setting": (change("settings", {"a": "\ud800"}), "settings is longer .* or no text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_document_that_breaks_a_rule_is_refused_with_the_place(tmp_path: Path, case: str) -> None:
    spoil, text = REFUSED[case]
    made = document()
    spoil(made)
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))}: {text}") as caught:
        read_portable(path)
    assert "\n" not in str(caught.value)


def test_the_document_that_the_others_are_made_from_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(document()), encoding="utf-8")
    assert read_portable(path).cuts[1].summary == "asked"


RAW = {
    "empty": (b"", "neither a conversation in JSON nor Markdown"),
    "text": (b"Dear diary", "neither a conversation in JSON nor Markdown"),
    "list": (b"[]", "neither a conversation in JSON nor Markdown"),
    "cut off": (b'{"schema_version": 1', "not JSON"),
    "no text": (b'{"\xff": 1}', "not UTF-8"),
    "twice": (b'{"schema_version": 1, "schema_version": 1}', "appears twice"),
    "deep": (b'{"a":' + b"[" * 200_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 200_000, "nested too deeply"),
    "many": (b'{"a":[' + b"[]," * 2_100_000, "more than 4000000 JSON values"),
    "infinite": (b'{"schema_version": 1e999}', "schema_version is inf; expected an integer"),
    "digits": (b'{"schema_version": 1' + b"0" * 5000 + b"}", "integer string conversion"),
}


@pytest.mark.parametrize("case", RAW)
def test_hostile_bytes_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    raw, text = RAW[case]
    path = tmp_path / "chat.json"
    path.write_bytes(raw)
    with pytest.raises(FormatError, match=text) as caught:
        read_portable(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_many_commas_in_a_text_are_no_values(tmp_path: Path) -> None:
    made = document()
    made["turns"][0]["content"] = commas = ',[{"\\' * 1_500_000
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    assert read_portable(path).turns[1].content == commas


def test_a_setting_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(document()).replace("{}", '{"a": 1e999}'), encoding="utf-8")
    with pytest.raises(FormatError, match="settings holds a number that is not finite"):
        read_portable(path)


def test_more_turns_or_bytes_than_a_person_writes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.json"
    export_json(sample(), path)
    monkeypatch.setattr("edgellm.apps.chat.conversations.imported.MAX_TURNS", 2)
    with pytest.raises(FormatError, match="more than 2 turns"):
        read_portable(path)
    monkeypatch.setattr(portable, "MAX_FILE_BYTES", 100)
    with pytest.raises(FormatError, match="at most 100 B is read"):
        read_portable(path)


@pytest.mark.parametrize("name", ["absent", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=name):
        read_portable(tmp_path / name)


def test_control_characters_are_kept_and_do_no_harm(database: Database, tmp_path: Path) -> None:
    wild = "a\0b\x1b[2J\r\n\x7f\u202e\ufeff"
    made = document() | {"title": wild, "system": wild, "model": wild}
    made["turns"][0] |= {"content": wild, "attachments": [{"name": wild, "text": wild}]}
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    stored = catalog.add(database, read_portable(path))
    assert json_form.to_json(stored) == made
    assert catalog.list_newest(database)[0].excerpt == "a"  # SQLite ends it at the NUL


def test_bytes_changed_anywhere_are_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    export_json(sample(), path)
    sound = path.read_bytes()
    for place in range(0, len(sound), 7):
        for byte in b'{"\\[9\x80':
            path.write_bytes(sound[:place] + bytes([byte]) + sound[place + 1 :])
            with refusal_in_one_line():
                read_portable(path)
