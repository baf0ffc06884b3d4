"""The key that signs saved conversations: made once, private, and never half there."""

import errno
import threading
from pathlib import Path
from typing import Never

import pytest

from edgellm.errors import IntegrityError, OutputError
from edgellm.runtimes.llama_cpp.state_key import KEY_FILE, key_for_restoring, key_for_saving


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    made = key_for_saving(folder)
    assert key_for_saving(folder) == made == key_for_restoring(folder, tmp_path / "state")
    assert len(made.secret) == 32
    assert (folder / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in folder.iterdir()] == [KEY_FILE]


def test_each_user_gets_another_key(tmp_path: Path) -> None:
    assert key_for_saving(tmp_path / "a").id != key_for_saving(tmp_path / "b").id


def test_those_who_make_a_key_at_once_agree_on_one(tmp_path: Path) -> None:
    keys = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        keys.append(key_for_saving(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_file_system_without_links_has_keys_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: object) -> Never:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert key_for_saving(tmp_path) == key_for_saving(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [KEY_FILE]


def test_without_a_cache_folder_nothing_is_saved_or_restored(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no cache folder for the key"):
        key_for_saving(None)
    with pytest.raises(IntegrityError, match="cannot be checked"):
        key_for_restoring(None, tmp_path / "state")


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(OutputError, match=r"state\.key: not a usable key: not 32 bytes long"):
        key_for_saving(tmp_path)
    with pytest.raises(IntegrityError, match=r"state\.key: not 32 bytes long"):
        key_for_restoring(tmp_path, tmp_path / "state")


def test_without_a_key_a_file_was_not_saved_here(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="was not saved here"):
        key_for_restoring(tmp_path, tmp_path / "state")
    assert not list(tmp_path.iterdir())
