"""Remembers files whose content was verified, so that an untouched file is hashed once."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from edgellm.errors import OutputError
from edgellm.files import FileStamp, write_file


@dataclass(frozen=True, slots=True)
class VerifiedFiles:
    """Notes in `folder`, one a file; without a folder nothing is remembered.

    A note counts only while the file's stamp and the expected hash are the ones in it, so a lost,
    stale or damaged note costs one more hash and nothing else.
    """

    folder: Path | None

    def holds(self, path: Path, stamp: FileStamp, sha256: str) -> bool:
        """Whether exactly this state of the file was verified before."""
        if self.folder is None:
            return False
        try:
            return self._note(path).read_bytes() == _note_text(path, stamp, sha256)
        except OSError:
            return False

    def known(self, path: Path, stamp: FileStamp) -> str | None:
        """The SHA-256 that this state of the file was seen to have, if it was."""
        if self.folder is None:
            return None
        try:
            noted = self._note(path).read_bytes()
            sha256 = str(json.loads(noted)["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return sha256 if noted == _note_text(path, stamp, sha256) else None

    def remember(self, path: Path, stamp: FileStamp, sha256: str) -> None:
        """Note that the file had this content; a folder that refuses it is no error."""
        if self.folder is None:
            return
        note = self._note(path)
        with suppress(OSError, OutputError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_file(note, _note_text(path, stamp, sha256))

    def _note(self, path: Path) -> Path:
        assert self.folder is not None
        key = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / f"{key}.json"


def _note_text(path: Path, stamp: FileStamp, sha256: str) -> bytes:
    return json.dumps({"path": str(path.absolute()), "sha256": sha256, **asdict(stamp)}).encode()
