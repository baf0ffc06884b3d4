"""The terminal while Textual is imported: a real pseudo-terminal, which holds what is typed."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.pseudo_terminals import PseudoTerminal

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


class Terminal(PseudoTerminal):
    """With a program that is within the first frame."""

    def start(self, body: str, stdin: int | None = None) -> None:
        """stdin: the terminal where None."""
        self.run(PROGRAM + body, stdin)
        assert self.stdout.readline() == b"inside\n"

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


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal() as terminal:
        yield terminal


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
