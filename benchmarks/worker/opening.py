"""The model that the worker's benchmarks load, and what its processes leave behind."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil

import edgellm
from edgellm.children import child_command, child_environment
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.protocol import EventSink, ignore_events

CONTEXT = 1024  # tokens
_MARK = "EDGELLM_BENCHMARK_RUN"


def prepare_model(folder: Path) -> Path:
    """The bundled model, converted into `folder`; also marks the processes of this run."""
    os.environ[_MARK] = uuid.uuid4().hex
    artifact = folder / "model"
    budget = ["--memory", "58MiB", "--context", str(CONTEXT), "--sensitivity", "static"]
    command = child_command("edgellm", "convert", "novelist-7m", *budget, "-o", str(artifact))
    subprocess.run(command, env=child_environment(), check=True, capture_output=True)
    return artifact


def open_model(artifact: Path, on_event: EventSink = ignore_events) -> Model:
    """As an app would; one thread, since the model is tiny and the machine may be busy."""
    return edgellm.load(artifact, threads=1, on_event=on_event)


class Leftovers(NamedTuple):
    """What must be the same before and after."""

    processes: frozenset[int]  # zombies included, and those whose parent is gone
    open_files: int
    shared_memory: frozenset[str]


def leftovers() -> Leftovers:
    shared = Path("/dev/shm")
    return Leftovers(
        frozenset(marked_processes()),
        len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0,
        frozenset(path.name for path in shared.iterdir()) if shared.exists() else frozenset(),
    )


def marked_processes() -> set[int]:
    """Processes that were started in this run, however deep; zombies that are our children."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid():
                continue
            if process.ppid() == os.getpid() or process.environ().get(_MARK) == os.environ[_MARK]:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


def worker_of(found: set[int]) -> int | None:
    """The worker among these processes."""
    for pid in found:
        try:
            if "edgellm.runtimes.worker" in psutil.Process(pid).cmdline():
                return pid
        except psutil.Error:
            continue
    return None
