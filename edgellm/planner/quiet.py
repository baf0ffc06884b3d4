"""Keeps a library's stray prints out of our standard output, which may carry JSON."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stdout_discarded() -> Iterator[None]:
    """Drop what C code writes to standard output meanwhile; Python's own buffer is not touched.

    It acts on the whole process, so keep the block short.
    """
    try:
        kept = os.dup(1)
    except OSError:  # no standard output at all, as under pythonw
        yield
        return
    _flush_c_streams()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield
    finally:
        _flush_c_streams()
        os.dup2(kept, 1)
        os.close(kept)


def _flush_c_streams() -> None:
    """C buffers its own output; unflushed text would appear after the block."""
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    library.fflush(None)
