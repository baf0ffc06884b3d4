"""Standard streams that a caller has closed, filled up or left."""

import errno
import os
import sys
from pathlib import Path

# A write that fails names no file where it went to a stream; results in files have errors of ours.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
_STDERR = 2


def fill_closed_streams() -> None:
    """Let what a caller has closed lead nowhere; a file opened later would get its number."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w")
    sys.stderr = sys.stderr or nowhere.open("w")


def silence_stdout() -> None:
    """What is still buffered must not fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_unwritable(error: OSError) -> bool:
    """Whether it tells that a stream took no more: a full disk, a file-size limit."""
    return error.errno in _UNWRITABLE and error.filename is None
