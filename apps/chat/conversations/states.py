"""Where the KV state of conversations is kept, so that they reopen without being read again."""

import hashlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import OutputError, UsageError
from edgellm.files import output_errors

_UID = re.compile(r"[0-9a-f]{32}")
# edgellm.files.new_file writes NAME as .NAME.partial until it is whole.
_NAME = re.compile(r"(?P<uid>[0-9a-f]{32})-[0-9a-f]{16}\.kv")
_PARTIAL = re.compile(rf"\.{_NAME.pattern}\.partial")
_ABANDONED_S = 3600.0  # a partial file that nobody has written to for so long is nobody's


@dataclass(frozen=True, slots=True)
class _State:
    """A file of the shelf."""

    path: Path
    uid: str
    is_partial: bool
    bytes: int
    modified_s: float


class StateShelf:
    """Files named by conversation and model in one folder, within a limit.

    Only files of that naming are ever looked at; anything else in the folder stays as it is.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def path(self, uid: str, model: str) -> Path:
        """Where the state of a conversation with a model is, or would be; its folder is there.

        Raises UsageError for what is no uid, OutputError when the folder cannot be made.
        """
        if not _UID.fullmatch(uid):
            raise UsageError(f"{uid!r} is no uid of a conversation: expected 32 hexadecimal digits")
        with output_errors(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return self.folder / f"{uid}-{digest}.kv"

    def forget(self, uid: str) -> int:
        """Delete every state of a conversation; returns the bytes freed. Raises OutputError."""
        return sum(self._remove(state) for state in self._states() if state.uid == uid)

    def prune(self) -> int:
        """Delete the oldest files until the shelf is within its limit; returns the bytes freed.

        What is left of writes that were given up goes as well. Raises OutputError.
        """
        now_s = time.time()
        states = sorted(self._states(), key=lambda state: state.modified_s)
        abandoned = [
            state
            for state in states
            if state.is_partial and now_s - state.modified_s > _ABANDONED_S
        ]
        freed_bytes = sum(map(self._remove, abandoned))
        kept = [state for state in states if not state.is_partial]
        excess_bytes = sum(state.bytes for state in kept) - self.limit_bytes
        for state in kept:
            if excess_bytes <= 0:
                break
            freed_bytes += self._remove(state)
            excess_bytes -= state.bytes
        return freed_bytes

    def _states(self) -> list[_State]:
        try:
            with os.scandir(self.folder) as entries:
                return [state for entry in entries if (state := _state(entry))]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be read: {error.strerror}") from error

    def _remove(self, state: _State) -> int:
        with output_errors(state.path):
            state.path.unlink(missing_ok=True)  # another program may tidy up as well
        return state.bytes


def _state(entry: os.DirEntry[str]) -> _State | None:
    """What a folder's entry is to the shelf; None for what is none of its own."""
    whole, partial = _NAME.fullmatch(entry.name), _PARTIAL.fullmatch(entry.name)
    name = whole or partial
    if name is None or not entry.is_file(follow_symlinks=False):
        return None
    try:
        facts = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    is_partial = partial is not None
    return _State(Path(entry.path), name["uid"], is_partial, facts.st_size, facts.st_mtime)
