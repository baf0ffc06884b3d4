"""The shelf of KV states: its names, its limit, and what it leaves alone."""

import os
import sys
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.apps.chat.conversations.states import StateShelf
from edgellm.errors import OutputError, UsageError

UID = uuid.UUID(int=7).hex
OTHER = uuid.UUID(int=8).hex


@pytest.fixture
def shelf(tmp_path: Path) -> StateShelf:
    return StateShelf(tmp_path / "states", 200)


def put(path: Path, size: int, age_s: float = 0) -> Path:
    path.write_bytes(bytes(size))
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def names(shelf: StateShelf) -> set[str]:
    return {path.name for path in shelf.folder.iterdir()}


@given(st.text(), st.text())
def test_a_name_is_safe_and_tells_models_apart(model: str, other: str) -> None:
    shelf = StateShelf(Path.cwd(), 0)
    path = shelf.path(UID, model)
    assert path.parent == shelf.folder
    assert set(path.name) <= set("0123456789abcdef-.kv")
    assert (path == shelf.path(UID, other)) == (model == other)


@pytest.mark.parametrize("uid", ["", "..", f"../{UID}", UID.upper() + "A", f"{UID}\n", UID[:-1]])
def test_what_is_no_uid_has_no_path(shelf: StateShelf, uid: str) -> None:
    with pytest.raises(UsageError, match="32 hexadecimal digits"):
        shelf.path(uid, "m")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")
def test_the_folder_is_made_for_this_user_only(shelf: StateShelf) -> None:
    assert shelf.path(UID, "m").parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        StateShelf(tmp_path / "file" / "states", 0).path(UID, "m")


def test_the_oldest_go_first_until_the_shelf_is_within_its_limit(shelf: StateShelf) -> None:
    ages = {"a": 30, "b": 50, "c": 10, "d": 40}
    paths = {model: put(shelf.path(UID, model), 100, age) for model, age in ages.items()}
    assert shelf.prune() == 200
    assert names(shelf) == {paths["a"].name, paths["c"].name}
    assert shelf.prune() == 0


def test_only_abandoned_writes_go_and_nothing_of_another_name(shelf: StateShelf) -> None:
    state = shelf.path(UID, "m")
    shelf.limit_bytes = 0
    strange = ["notes.txt", f"{UID}.kv", f"{UID}-0.kv", f"x{state.name}", f"{state.name}.bak"]
    for name in strange:
        put(shelf.folder / name, 100, 10_000)
    (shelf.folder / shelf.path(UID, "folder").name).mkdir()
    kept = names(shelf)
    put(state, 100)
    put(shelf.folder / f".{state.name}.partial", 10, 7200)
    writing = put(shelf.folder / f".{shelf.path(UID, 'n').name}.partial", 10, 60)
    assert shelf.prune() == 110
    assert names(shelf) == {*kept, writing.name}


def test_a_conversation_is_forgotten_with_all_models_and_nothing_else(shelf: StateShelf) -> None:
    for model in "ab":
        put(shelf.path(UID, model), 10)
        put(shelf.folder / f".{shelf.path(UID, model).name}.partial", 1)
    kept = put(shelf.path(OTHER, "a"), 10)
    assert shelf.forget(UID) == 22
    assert names(shelf) == {kept.name}
    assert shelf.forget(UID) == 0


def test_a_shelf_that_was_never_used_has_nothing_to_tidy(shelf: StateShelf) -> None:
    assert shelf.prune() == shelf.forget(UID) == 0
    assert not shelf.folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a privilege on Windows")
def test_a_link_is_no_state(shelf: StateShelf, tmp_path: Path) -> None:
    target = put(tmp_path / "target", 1000)
    shelf.path(UID, "m").symlink_to(target)
    shelf.limit_bytes = 0
    assert shelf.prune() == 0
    assert shelf.path(UID, "m").is_symlink()
