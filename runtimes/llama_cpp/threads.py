"""How many threads compute."""

import os

import psutil

BYTES_PER_THREAD = 32 << 20  # weights


def useful_threads(weights_bytes: int) -> int:
    """Threads that pay: in a small model they mostly wait for each other.

    Measured by `python -m benchmarks.threads`.
    """
    return max(1, min(physical_cores(), weights_bytes // BYTES_PER_THREAD))


def physical_cores() -> int:
    """Cores this process may run on, each counted once: a second thread per core adds nothing."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, allowed))
