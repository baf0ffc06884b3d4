import errno
import hashlib
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Never

import pytest

from edgellm.errors import InputError, OutputError
from edgellm.files import (
    FileStamp,
    new_file,
    output_errors,
    require_space,
    sha256_of,
    sync_folder,
    write_all,
    write_file,
    write_json,
)


class ShortWriter:
    """Takes three bytes at a time, as a pipe or a nearly full disk may."""

    def __init__(self) -> None:
        self.taken = b""

    def write(self, payload: memoryview) -> int:
        self.taken += bytes(payload[:3])
        return min(3, len(payload))


def test_a_short_write_is_continued() -> None:
    writer = ShortWriter()
    write_all(writer, b"0123456789")  # type: ignore[arg-type]
    assert writer.taken == b"0123456789"


def test_a_hash_reports_every_byte_it_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1_000_000)
    counts: list[int] = []
    digest = sha256_of(path, counts.append)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(counts) == 3_000_000


def test_hashing_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: cannot be read: No such file"):
        sha256_of(tmp_path / "absent")


def test_a_stamp_changes_when_content_changes_though_the_time_is_set_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    before = FileStamp.of(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(before.modified_ns, before.modified_ns))
    assert FileStamp.of(path) != before


def test_writing_replaces_the_whole_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a much longer old content")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["write_all", "sync_file", "sync_folder"])
def test_a_failed_write_names_the_file_and_leaves_no_partial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*arguments: object) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"edgellm.files.{failing}", fail)
    with pytest.raises(OutputError, match=r"plan\.json: cannot be written: No space left"):
        write_json(tmp_path / "plan.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_error_of_the_system_becomes_an_output_error() -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    problem = pytest.raises(OutputError, match="out: cannot be written: Permission denied")
    with problem, output_errors(Path("out")):
        raise denied


def test_too_little_space_says_what_is_needed_and_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 30))
    require_space(tmp_path, 900 << 20)
    with pytest.raises(OutputError, match=r"needs 2\.16 GiB of free disk, has 1\.00 GiB"):
        require_space(tmp_path, 2 << 30)


def test_syncing_a_folder_accepts_any_folder(tmp_path: Path) -> None:
    sync_folder(tmp_path)


def test_a_private_file_is_never_open_to_others(tmp_path: Path) -> None:
    leftover = tmp_path / ".file.partial"
    leftover.write_bytes(b"open to all")
    leftover.chmod(0o644)
    with new_file(tmp_path / "file", private=True) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
        file.write(b"secret")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "file").read_bytes() == b"secret"
