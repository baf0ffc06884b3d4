"""How many threads a conversion uses."""

import os

from edgellm.errors import UsageError


def thread_count(threads: int | None) -> int:
    """As many as asked for; None means one on each core. Raises UsageError."""
    if threads is None:
        # Containers and batch systems pin a process to fewer cores than the machine has.
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if threads < 1:
        raise UsageError(f"threads is {threads}; expected at least 1")
    return threads
