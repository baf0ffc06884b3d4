"""Arrays in NPZ files that a cache keeps."""

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.files import keep_file

Arrays = Mapping[str, NDArray[Any]]
# The last is what zipfile raises for a compression or a version it does not know.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError)


def read_arrays(path: Path) -> Arrays:
    """Every array; none where the file is absent or damaged. Nothing in it is executed."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _UNREADABLE:
        return {}


def keep_arrays(path: Path, arrays: Arrays) -> None:
    """Replace the file whole. Raises OutputError."""
    payload = BytesIO()
    np.savez(payload, allow_pickle=False, **arrays)
    keep_file(path, payload.getvalue())
