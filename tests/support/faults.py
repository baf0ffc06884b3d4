"""A file system that fails, or a process that dies, at the n-th operation of a conversion.

`python -m tests.support.faults N CHECKPOINT OUT` converts, and kills itself in the middle of the
N-th operation.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

OPERATIONS = (
    "edgellm.files.write_all",
    "edgellm.files.sync_file",
    "edgellm.files.sync_folder",
    "edgellm.converters.resumable.write_all",
    "edgellm.converters.resumable.sync_file",
    "edgellm.converters.workspace.sync_folder",
    "pathlib.Path.mkdir",
    "pathlib.Path.touch",
    "pathlib.Path.replace",
)
Fault = Callable[..., None]


def disk_full(*arguments: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def die_half_way(*arguments: Any) -> None:
    """Write half of what was to be written, if anything, then die as kill -9 does."""
    if len(arguments) == 2 and isinstance(arguments[1], bytes | memoryview):
        arguments[0].write(arguments[1][: len(arguments[1]) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def fault_at(n: int, fault: Fault) -> Any:
    """Run `fault` in place of the n-th operation, counted from 1; yields the operations so far."""
    reached: list[str] = []

    def counted(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            reached.append(name)
            if len(reached) == n:
                fault(*arguments)
            return operation(*arguments, **options)

        return run

    with ExitStack() as stack:
        for target in OPERATIONS:
            patcher = patch(target)
            operation = patcher.get_original()[0]
            stack.enter_context(patch(target, counted(target, operation)))
        yield reached


if __name__ == "__main__":
    from tests.support.conversions import convert_folder

    with fault_at(int(sys.argv[1]), die_half_way):
        convert_folder(Path(sys.argv[2]), Path(sys.argv[3]), overwrite=True)
