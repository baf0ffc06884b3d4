"""Limits that a worker puts on itself, where the system has them."""

import os
import sys

_STACK_BYTES = 8 << 20  # what a thread's stack counts where the system names no limit
_OTHER_THREADS = 4


def limit_memory(limit_bytes: int) -> None:
    """Refuse this process more than `limit_bytes` of private memory; Linux only.

    RLIMIT_DATA counts what malloc and private mappings may write to. RLIMIT_AS would also count
    the model's file, mapped, and the address space that GPU drivers and malloc only reserve. The
    stacks of the threads to come count in full but are hardly used, so they are added. On Windows
    the parent puts the worker into a job; macOS enforces neither limit.
    """
    if sys.platform != "linux":
        return
    import resource

    stack_bytes, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if stack_bytes == resource.RLIM_INFINITY:
        stack_bytes = _STACK_BYTES
    allowed_bytes = limit_bytes + ((os.cpu_count() or 1) + _OTHER_THREADS) * stack_bytes
    _, hard_bytes = resource.getrlimit(resource.RLIMIT_DATA)
    if hard_bytes != resource.RLIM_INFINITY:
        allowed_bytes = min(allowed_bytes, hard_bytes)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed_bytes, hard_bytes))


def leave_no_core() -> None:
    """Keep a crash quick: a core file would hold the whole model."""
    if sys.platform == "win32":
        return
    import resource

    _, hard_bytes = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard_bytes))
