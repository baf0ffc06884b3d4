"""The checkpoint's files during a conversion: hashed beside it, and watched for changes."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import astuple
from pathlib import Path
from threading import Event
from types import TracebackType

from edgellm.artifact import FileEntry
from edgellm.errors import InputError
from edgellm.files import FileStamp, sha256_of
from edgellm.progress import Progress, ProgressSink

_POLL_S = 0.2


class SourceFiles:
    """Hashes files in a thread of its own from the moment it is entered; one owner, one use.

    The weights are converted meanwhile, so a file that changes on the way must be noticed:
    stamps are taken before the first byte is read and compared in `entries`.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stamps = {path: FileStamp.of(path) for path in paths}
        self._stopped = Event()
        self._hashed_bytes = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hash")
        self._digests: dict[Path, Future[str]] = {}

    @property
    def identity(self) -> str:
        """Digest of every file's name and stamp: known at once, changed by any write to a file.

        Stands for the content when a conversion is resumed, where hashing first would cost as much
        time as resuming saves.
        """
        known = repr([(path.name, *astuple(stamp)) for path, stamp in self._stamps.items()])
        return hashlib.sha256(known.encode()).hexdigest()

    def __enter__(self) -> "SourceFiles":
        self._digests = {path: self._pool.submit(self._hash, path) for path in self._stamps}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)

    def entries(self, progress: ProgressSink) -> tuple[FileEntry, ...]:
        """Wait for the hashes. Raises InputError when a file has changed since the start."""
        total_bytes = sum(stamp.bytes for stamp in self._stamps.values())
        for path, digest in self._digests.items():
            while not digest.done():
                progress(Progress("hash", self._hashed_bytes, total_bytes, path.name))
                wait((digest,), timeout=_POLL_S)
        entries = tuple(
            FileEntry(path.name, stamp.bytes, self._digests[path].result())
            for path, stamp in self._stamps.items()
        )
        for path, stamp in self._stamps.items():
            if FileStamp.of(path) != stamp:
                raise InputError(f"{path}: changed while it was converted; convert again")
        return entries

    def _hash(self, path: Path) -> str:
        return sha256_of(path, self._advance)

    def _advance(self, count: int) -> None:
        self._hashed_bytes += count
        if self._stopped.is_set():
            raise CancelledError
