"""Files that are whole or absent: stamps, hashes, durable writes, renames."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgellm.errors import InputError, OutputError
from edgellm.progress import Progress, ProgressSink
from edgellm.units import format_bytes

_PIECE_BYTES = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_SPARE_BYTES = 64 << 20  # left free for everything else on the disk


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What changes when a file's content does, known without reading the file."""

    bytes: int
    modified_ns: int
    changed_ns: int  # of the inode, which cannot be set back; time of creation on Windows
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """Raises InputError when the file cannot be looked at."""
        try:
            facts = path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)


def sha256_of(path: Path, on_bytes: Callable[[int], None] = lambda count: None) -> str:
    """Hash a file in pieces; `on_bytes` hears the length of each. Raises InputError."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE_BYTES))
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
                on_bytes(count)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def hash_files(paths: Sequence[Path], name: str, progress: ProgressSink) -> list[str]:
    """The SHA-256 of each file; progress is told of `name`. Raises InputError."""
    total_bytes, hashed_bytes = sum(FileStamp.of(path).bytes for path in paths), 0

    def heard(count: int) -> None:
        nonlocal hashed_bytes
        hashed_bytes += count
        progress(Progress("hash", hashed_bytes, total_bytes, name))

    return [sha256_of(path, heard) for path in paths]


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors while `path` is written into OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise OutputError unless the disk that holds `folder` has room for `needed_bytes` more."""
    wanted_bytes = needed_bytes * 21 // 20 + _SPARE_BYTES
    with output_errors(folder):
        free_bytes = shutil.disk_usage(folder).free
    if free_bytes < wanted_bytes:
        raise OutputError(
            f"{folder}: needs {format_bytes(wanted_bytes)} of free disk, has "
            f"{format_bytes(free_bytes)}; free some space or choose another folder"
        )


def write_all(file: BinaryIO, payload: bytes | memoryview) -> None:
    """Write every byte to an unbuffered file, which may take them in parts."""
    rest = memoryview(payload)
    while rest:
        rest = rest[file.write(rest) :]


def sync_file(file: BinaryIO) -> None:
    """Return when the file's bytes are on the disk itself."""
    if sys.platform == "darwin":
        import fcntl

        # fsync alone stops at the drive's cache on macOS; some file systems refuse more.
        with suppress(OSError):
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on the disk; Windows does so by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write that takes `path`'s place, durably, once the block ends without an error.

    After a crash `path` holds the old bytes or the new ones. private: for this user's eyes only.
    Raises OutputError; what goes wrong inside the block is the caller's to name.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with output_errors(path):
            file = _open_private(partial) if private else partial.open("wb", buffering=0)
        with file:
            yield file
            with output_errors(path):
                sync_file(file)
        with output_errors(path):
            partial.replace(path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink()


def _open_private(path: Path) -> BinaryIO:
    """A new file of mode 0600; one that is there already may be open to others."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, _NEW, 0o600), "wb", buffering=0)


def write_file(path: Path, payload: bytes) -> None:
    """Create or replace a file durably: after a crash it holds the old bytes or the new ones."""
    with new_file(path) as file, output_errors(path):
        write_all(file, payload)


def keep_file(path: Path, payload: bytes) -> None:
    """`write_file` in a cache, whose folder may not be there yet."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, payload)


def keep_json(path: Path, document: Mapping[str, object]) -> None:
    """`write_json` in a cache, whose folder may not be there yet."""
    keep_file(path, _json_bytes(document))


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Create or replace a file with one JSON object, as durably as `write_file`."""
    write_file(path, _json_bytes(document))


def _json_bytes(document: Mapping[str, object]) -> bytes:
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
