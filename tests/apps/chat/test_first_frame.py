"""The terminal while Textual is imported: a real pseudo-terminal, which holds what is typed."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no such terminals", allow_module_level=True)

import termios

PATIENCE_S = 30.0
LEFT = b"\x1b[?1049l\x1b[?25h"
# The terminal becomes the controlling one, as a shell would have made it.
PROGRAM = """
import fcntl, os, termios
from edgellm.apps.chat.first_frame import first_frame

if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
before = termios.tcgetattr(2)
with first_frame(lambda: None, lambda: None):
    print("inside", flush=True)
"""


class Terminal:
    """A pseudo-terminal, and one program that runs in it."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.modes = termios.tcgetattr(self.slave)
        self._program: subprocess.Popen[bytes] | None = None

    def start(self, body: str, stdin: int | None = None) -> None:
        """Run a program until it is within the first frame. stdin: the terminal where None."""
        self._program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + body],
            stdin=self.slave if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=self.slave,
            start_new_session=True,
        )
        assert self.stdout.readline() == b"inside\n"

    @property
    def program(self) -> subprocess.Popen[bytes]:
        assert self._program is not None
        return self._program

    @property
    def stdout(self) -> IO[bytes]:
        assert self.program.stdout is not None
        return self.program.stdout

    def drawn(self) -> bytes:
        """Everything that was drawn until the program's end."""
        drawn, deadline = b"", time.monotonic() + PATIENCE_S
        while True:
            has_ended = self.program.poll() is not None
            if select.select([self.master], [], [], 0.01)[0]:
                drawn += os.read(self.master, 65536)
            elif has_ended:
                return drawn
            assert time.monotonic() < deadline

    def close(self) -> None:
        if self._program is not None:
            self.program.kill()
            self.program.wait()
            self.stdout.close()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    try:
        yield terminal
    finally:
        terminal.close()


def test_what_is_typed_is_held_unseen_with_enter_as_it_is(terminal: Terminal) -> None:
    terminal.start("    print(os.read(0, 100), flush=True)")
    os.write(terminal.master, b"hello\r\x04")  # Ctrl+D hands it over within the frame
    drawn = terminal.drawn()
    assert terminal.stdout.readline() == b"b'hello\\r'\n"
    assert b"starting" in drawn
    assert b"hello" not in drawn


@pytest.mark.parametrize(
    ("body", "code"), [("    pass", 0), ("    1 / 0", 1), ("    raise KeyboardInterrupt", -2)]
)
def test_the_modes_are_as_before_however_the_start_ends(
    terminal: Terminal, body: str, code: int
) -> None:
    terminal.start(f"    assert termios.tcgetattr(0) != before\n{body}")
    assert (LEFT in terminal.drawn()) == bool(code)
    assert terminal.program.returncode == code
    assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_without_a_terminal_to_type_in_nothing_is_changed(terminal: Terminal) -> None:
    terminal.start("    print(termios.tcgetattr(2) == before)", subprocess.DEVNULL)
    assert b"starting" in terminal.drawn()
    assert terminal.stdout.readline() == b"True\n"
    assert terminal.program.returncode == 0
