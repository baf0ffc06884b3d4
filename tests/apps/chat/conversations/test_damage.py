"""A database whose bytes were changed works, or says that it is damaged."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgellm.apps.chat.conversations import catalog, remembered, turns
from edgellm.apps.chat.conversations.database import NAME, Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Attachment, Cut, Figures, Preset
from edgellm.apps.chat.conversations.search import search
from edgellm.errors import EdgeLLMError
from tests.apps.chat.conversations.samples import refusal_in_one_line

FLIPS = 120
TRUNCATIONS = 30
LOGS = 30


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small database with something in every table."""
    folder = tmp_path_factory.mktemp("sound") / "chats"
    with Database(folder) as database:
        for _ in range(2):
            fill(database, catalog.create(database, "Herons", settings={"a": 1}).id)
        remembered.save_preset(database, Preset("a", "b"))
        remembered.remember(database, "a", "b")
    return (folder / NAME).read_bytes()


def fill(database: Database, conversation: int) -> None:
    head = None
    for number in range(8):
        files = [Attachment("a", "text " * 300)] if number == 3 else []
        text = f"heron {number} " * 20
        asked = turns.add_user(database, conversation, head, text, files).id
        head = turns.begin_answer(database, conversation, asked, "m").id
        turns.finish_answer(database, head, "egret", "", "end", Figures(1, 2, 3, 4, 5, 6))
    turns.add_cut(database, conversation, Cut(asked, "before"))
    draft = turns.begin_answer(database, conversation, asked, "m")
    turns.append_piece(database, draft.id, "x. ")


def use(folder: Path) -> None:
    """Do everything that the app does, as far as the database lets it."""
    steps: list[Callable[[Database], object]] = [
        *(lambda database, number=number: load(database, number).path() for number in (1, 2)),
        lambda database: search(database, "heron 7"),
        lambda database: search(database, "x"),
        catalog.list_newest,
        remembered.list_presets,
        remembered.list_said,
        lambda database: remembered.recall(database, "a"),
        lambda database: turns.add_user(database, 1, None, "a heron"),
        lambda database: turns.finish_answer(database, 17, "y", "", "end"),
        lambda database: catalog.add(database, load(database, 2)),
        lambda database: catalog.delete(database, 1),
    ]
    with Database(folder) as database:
        for step in steps:
            with refusal_in_one_line():
                step(database)


def survives(folder: Path, damaged: bytes, log: bytes = b"") -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / NAME).write_bytes(damaged)
    (folder / f"{NAME}-wal").write_bytes(log)
    with refusal_in_one_line():
        use(folder)


def test_changed_bytes_are_an_error_of_the_tree_or_do_no_harm(folder: Path, sound: bytes) -> None:
    chance = random.Random(1)
    for _ in range(FLIPS):
        damaged = bytearray(sound)
        for _ in range(chance.choice((1, 1, 8, 64))):
            # Beginnings of pages, where most of the structure is, as often as the rest.
            page = chance.randrange(len(sound) // 4096) * 4096
            damaged[page + chance.randrange(chance.choice((100, 4096)))] = chance.randrange(256)
        survives(folder, bytes(damaged))


def test_a_database_cut_off_is_an_error_of_the_tree_or_does_no_harm(
    folder: Path, sound: bytes
) -> None:
    chance = random.Random(2)
    for length in (0, 1, 16, 99, 100, 4095, 4096, 8192):
        survives(folder, sound[:length])
    for _ in range(TRUNCATIONS):
        survives(folder, sound[: chance.randrange(len(sound))])


def test_a_damaged_log_is_an_error_of_the_tree_or_does_no_harm(folder: Path, sound: bytes) -> None:
    folder.mkdir()
    (folder / NAME).write_bytes(sound)
    with Database(folder) as database:
        for number in range(8):
            turns.add_user(database, 1, None, f"egret {number} " * 50)
        log = (folder / f"{NAME}-wal").read_bytes()
        base = (folder / NAME).read_bytes()
    chance = random.Random(3)
    for _ in range(LOGS):
        changed = bytearray(log[: chance.randrange(1, len(log))])
        for _ in range(chance.choice((0, 1, 8))):
            changed[chance.randrange(chance.choice((32, len(changed) + 32))) % len(changed)] ^= 1
        survives(folder, base, bytes(changed))


def test_columns_of_other_types_and_texts_that_are_none_are_told(
    folder: Path, sound: bytes
) -> None:
    spoiled = {
        "turns SET content = x'ff'": "another type",
        "turns SET content = CAST(x'ff' AS TEXT)": "UTF-8",
        "turns SET ending = 'never'": "an ending that is none",
        "turns SET figures = '{'": "not JSON",
        "turns SET figures = '{\"a\": 1}'": "a is unknown",
        "conversations SET settings = '[]'": "expected a JSON object",
        "conversations SET settings = '[' || replace(hex(zeroblob(9999)), '0', '[')": "nested",
    }
    for change, text in spoiled.items():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / NAME).write_bytes(sound)
        with Database(folder) as database:
            database.change(f"UPDATE {change}")
            with pytest.raises(EdgeLLMError, match=text):
                load(database, 1)
