"""The parent's hold on one worker process: its pipes, what it wrote to stderr, its end."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO

from edgellm.children import child_command, child_environment
from edgellm.closing import Closing
from edgellm.errors import RuntimeFailure
from edgellm.runtimes.worker.endings import ending

_LOG_BYTES = 16 << 10  # the end of its stderr that is kept
_DRAIN_S = 0.5  # a process it left behind may keep its stderr open


class WorkerProcess:
    """Owns the process and its pipes; killing and waiting are safe from any thread."""

    def __init__(self, service: str, engine: str, memory_limit_bytes: int | None) -> None:
        """Raises RuntimeFailure when the system cannot start it."""
        self._memory_limit_bytes = memory_limit_bytes
        limit = str(memory_limit_bytes or 0)
        command = child_command("edgellm.runtimes.worker", service, engine, limit)
        self._popen = _start(command, engine)
        self._job = _job(self._popen, memory_limit_bytes)
        assert self._popen.stdin
        assert self._popen.stdout
        self.requests: IO[bytes] = self._popen.stdin
        self.replies: IO[bytes] = self._popen.stdout
        self._log = b""
        self._drainer = threading.Thread(target=self._drain, name="edgellm-stderr", daemon=True)
        self._drainer.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def kill(self) -> None:
        """End it now; takes no lock, so a garbage collector may call it."""
        with suppress(OSError):
            self._popen.kill()

    def wait(self, limit_s: float) -> None:
        """Return when it has ended; it is killed where it has not after `limit_s`."""
        try:
            self._popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._popen.wait()
        if self._job:
            self._job.close()

    def ending(self) -> str:
        """How it ended, in words; after wait()."""
        self._drainer.join(_DRAIN_S)
        log = self._log.decode("utf-8", "replace")
        return ending(self._popen.returncode, log, self._memory_limit_bytes)

    def _drain(self) -> None:
        pipe = self._popen.stderr
        assert pipe
        with pipe:
            while piece := os.read(pipe.fileno(), _LOG_BYTES):
                self._log = (self._log + piece)[-_LOG_BYTES:]


def _start(command: list[str], engine: str) -> subprocess.Popen[bytes]:
    # ggml would start a debugger to print where it aborted, which takes seconds.
    environment = {**child_environment(), "GGML_NO_BACKTRACE": "1"}
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise RuntimeFailure(engine, f"cannot start {command[0]}: {error}") from error


def _job(process: subprocess.Popen[bytes], memory_limit_bytes: int | None) -> "Closing | None":
    if sys.platform == "win32":
        from edgellm.runtimes.worker.windows_job import Job

        return Job(int(process._handle), memory_limit_bytes)  # type: ignore[attr-defined]
    return None
