"""A pseudo-terminal for tests, with one program in it; not on Windows, which has none."""

import os
import subprocess
import sys
from typing import IO, Self


class PseudoTerminal:
    """A context manager that ends the program and closes the terminal."""

    def __init__(self) -> None:
        import termios

        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.modes = termios.tcgetattr(self.slave)
        self._program: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._program is not None:
            self.program.kill()
            self.program.wait()
            self.stdout.close()
        self.hang_up()

    def run(self, code: str, stdin: int | None = None) -> None:
        """Begin a Python program that prints to `stdout`. stdin: the terminal where None."""
        self._program = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=self.slave if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color"},
        )

    @property
    def program(self) -> subprocess.Popen[bytes]:
        assert self._program is not None
        return self._program

    @property
    def stdout(self) -> IO[bytes]:
        assert self.program.stdout is not None
        return self.program.stdout

    def hang_up(self) -> None:
        """Close the terminal, as a window that is closed does."""
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)
        self.master = self.slave = -1
