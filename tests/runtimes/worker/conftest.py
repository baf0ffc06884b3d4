"""What a test of workers must leave as it was."""

import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def own_resources() -> Iterator[None]:
    """Processes, threads and open files are the same after the test; zombies count."""
    gc.collect()
    before = resources()
    yield
    gc.collect()
    assert resources() == before


def resources() -> tuple[set[int], set[str], set[str]]:
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    threads = {thread.name for thread in threading.enumerate()}
    folder = Path("/proc/self/fd")
    if sys.platform != "linux":
        return children, threads, set()
    files = {f"{file.name} {file.readlink()}" for file in folder.iterdir() if file.is_symlink()}
    return children, threads, {file for file in files if "/proc/" not in file}
