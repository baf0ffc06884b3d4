"""Arrays kept by the content that decides them."""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint
from edgellm.files import FileStamp, output_errors, sha256_of, write_file
from edgellm.progress import Progress, ProgressSink

F32Array = NDArray[np.float32]
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError)


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """One NPZ file of float32 arrays, replaced whole; a damaged one counts as absent."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]

    def read(self) -> Mapping[str, F32Array] | None:
        try:
            with np.load(BytesIO(self.path.read_bytes()), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in self.shapes}
        except _UNREADABLE:
            return None
        right = all(
            array.shape == self.shapes[name]
            and array.dtype == np.float32
            and np.isfinite(array).all()
            for name, array in found.items()
        )
        return found if right else None

    def write(self, arrays: Mapping[str, F32Array]) -> None:
        """Raises OutputError."""
        payload = BytesIO()
        np.savez(payload, allow_pickle=False, **arrays)
        with output_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.path, payload.getvalue())


def content_key(
    checkpoint: Checkpoint,
    windows: Sequence[Sequence[int]],
    method: tuple[object, ...],
    progress: ProgressSink,
) -> str:
    """Hash of all that decides gradients: the checkpoint's files, the text's tokens, the method.

    Raises InputError for a file that cannot be read.
    """
    total_bytes, hashed_bytes = sum(FileStamp.of(path).bytes for path in checkpoint.files), 0

    def heard(count: int) -> None:
        nonlocal hashed_bytes
        hashed_bytes += count
        progress(Progress("hash", hashed_bytes, total_bytes, checkpoint.name))

    digests = [sha256_of(path, heard) for path in checkpoint.files]
    return hashlib.sha256(repr((digests, windows, method)).encode()).hexdigest()
