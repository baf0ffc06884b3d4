"""A file that is written in sections and survives an interruption section by section.

A journal beside it holds a fingerprint of everything that decides the bytes, then one line per
finished section: the SHA-256 of the file up to there. Reopened under the same fingerprint, the file
is read once and kept up to the last section whose hash agrees, whatever a crash did to the rest.
"""

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from edgellm.artifact import FileEntry
from edgellm.files import output_errors, sync_file, write_all
from edgellm.progress import Progress, ProgressSink

_PIECE_BYTES = 1 << 20


class ResumableFile:
    """The file, open for writing at the end of what is kept; one owner, one use."""

    def __init__(
        self,
        path: Path,
        journal: Path,
        fingerprint: str,
        ends: Sequence[int],
        progress: ProgressSink,
    ) -> None:
        """Open both files, made if need be, and check what they hold.

        ends: where each section ends, in bytes from the start. progress: hears of the check.
        Raises OutputError.
        """
        self._path = path
        self._ends = ends
        self._progress = progress
        self._digest = hashlib.sha256()
        self.sections = 0  # finished ones
        self.position_bytes = 0
        with output_errors(path), ExitStack() as opened:
            path.touch()
            journal.touch()
            self._file: BinaryIO = opened.enter_context(path.open("r+b", buffering=0))
            self._journal: BinaryIO = opened.enter_context(journal.open("r+b", buffering=0))
            self._resume(fingerprint)
            self._opened = opened.pop_all()

    @property
    def total_bytes(self) -> int:
        return self._ends[-1]

    def __enter__(self) -> "ResumableFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def write(self, payload: bytes | memoryview) -> None:
        """Append bytes to the current section."""
        with output_errors(self._path):
            write_all(self._file, payload)
        self._digest.update(payload)
        self.position_bytes += len(payload)

    def end_section(self) -> None:
        """Pad to the section's end with zeros and note that it is finished."""
        self.write(bytes(self._ends[self.sections] - self.position_bytes))
        with output_errors(self._path):
            write_all(self._journal, _line(self._digest.hexdigest()))
        self.sections += 1

    def finish(self) -> FileEntry:
        """Bring everything to the disk; returns the file's size and hash."""
        assert self.position_bytes == self.total_bytes
        with output_errors(self._path):
            sync_file(self._file)
        return FileEntry(self._path.name, self.position_bytes, self._digest.hexdigest())

    def _resume(self, fingerprint: str) -> None:
        head = _line(fingerprint)
        if self._journal.read(len(head)) == head:
            self._keep_verified_sections()
            self._journal.seek(len(head) * (1 + self.sections))
        else:
            self._journal.seek(0)
            self._journal.truncate()
            write_all(self._journal, head)
        self._journal.truncate()
        self._file.seek(self.position_bytes)
        self._file.truncate()

    def _keep_verified_sections(self) -> None:
        digest = self._digest.copy()
        for end in self._ends:
            complete = self._hash_until(digest, end)
            line = _line(digest.hexdigest())
            if self._journal.read(len(line)) != line or not complete:
                return
            self._digest, self.position_bytes = digest.copy(), end
            self.sections += 1
            self._progress(Progress("verify", end, self.total_bytes, self._path.name))

    def _hash_until(self, digest: "hashlib._Hash", end: int) -> bool:
        """Feed the rest of the file up to `end` to the digest; False when it is shorter."""
        left_bytes = end - self.position_bytes
        while left_bytes and (piece := self._file.read(min(_PIECE_BYTES, left_bytes))):
            digest.update(piece)
            left_bytes -= len(piece)
        return left_bytes == 0


def _line(digest: str) -> bytes:
    return f"{digest}\n".encode()
