"""Arrays kept by the content that decides them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint
from edgellm.converters.calibration.arrays import keep_arrays, read_arrays
from edgellm.files import hash_files
from edgellm.progress import ProgressSink

F32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """One NPZ file of float32 arrays, replaced whole; a damaged one counts as absent."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]

    def read(self) -> Mapping[str, F32Array] | None:
        found = read_arrays(self.path)
        right = all(
            name in found
            and found[name].shape == shape
            and found[name].dtype == np.float32
            and np.isfinite(found[name]).all()
            for name, shape in self.shapes.items()
        )
        return found if right else None

    def write(self, arrays: Mapping[str, F32Array]) -> None:
        """Raises OutputError."""
        keep_arrays(self.path, arrays)


def content_key(
    checkpoint: Checkpoint,
    windows: Sequence[Sequence[int]],
    method: tuple[object, ...],
    progress: ProgressSink,
) -> str:
    """Hash of all that decides gradients: the checkpoint's files, the text's tokens, the method.

    Raises InputError for a file that cannot be read.
    """
    digests = hash_files(checkpoint.files, checkpoint.name, progress)
    return hashlib.sha256(repr((digests, windows, method)).encode()).hexdigest()
