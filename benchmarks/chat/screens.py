"""The chat in a pseudo-terminal: started, fed with keys, and watched for what it draws."""

import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Self

from edgellm.children import child_environment

PATIENCE_S = 60.0


def _take_terminal() -> None:
    """In the child: a session of its own, which its terminal controls."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Screen:
    """One program on a terminal of its own; a context manager that kills it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        columns: int = 100,
        rows: int = 30,
        passed: Sequence[int] = (),
    ) -> None:
        """passed: file descriptors that the program keeps."""
        import fcntl
        import pty
        import termios

        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.began_s = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            env={**child_environment(), "TERM": "xterm-256color", **environment},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=_take_terminal,
            pass_fds=passed,
        )
        os.close(slave)
        self.drawn = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        os.close(self._master)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, wanted: bytes, *, start: int = 0) -> float:
        """When these bytes were drawn, in seconds after the program was started.

        start: where in what was drawn to look from.
        """
        deadline_s = time.perf_counter() + PATIENCE_S
        while wanted not in self.drawn[start:]:
            if time.perf_counter() > deadline_s:
                sys.exit(f"never drawn: {wanted!r}")
            self.read(0.5)
        return time.perf_counter() - self.began_s

    def read(self, patience_s: float) -> None:
        """Take what is there, or what comes within the time."""
        if select.select([self._master], [], [], patience_s)[0]:
            try:
                self.drawn += os.read(self._master, 1 << 16)
            except OSError:  # the program is gone
                time.sleep(0.01)
