"""What is seen before Textual is imported, which takes longer than a person should look at nothing.

Drawn where the chat will draw the same: an empty transcript, the prompt, and what is going on. What
is typed meanwhile waits for the prompt, unseen.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"  # alternate screen, no cursor, empty
_LEAVE = "\x1b[?1049l\x1b[?25h"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_LEAST_COLUMNS, _LEAST_ROWS = 20, 8
_STDIN = 0
_INPUT, _LOCAL = 0, 3  # where termios keeps these flags


@contextmanager
def first_frame(entering: Callable[[], None], left: Callable[[], None]) -> Iterator[None]:
    """Paint the frame; where the block fails, the terminal is given back.

    entering, left: tell the guard.
    """
    stream = sys.__stderr__
    if stream is None or not stream.isatty():
        yield
        return
    columns, rows = os.get_terminal_size(stream.fileno())
    entering()
    stream.write(_ENTER + frame(columns, rows))
    stream.flush()
    try:
        with _unseen_keys():
            yield
    except BaseException:
        stream.write(_LEAVE)
        stream.flush()
        left()
        raise


@contextmanager
def _unseen_keys() -> Iterator[None]:
    """Have the terminal hold what is typed: not drawn over the frame, and Enter as it is.

    Does nothing on Windows, and where the terminal is another program's.
    """
    if sys.platform == "win32" or not _is_ours():
        yield
        return
    import termios

    before = termios.tcgetattr(_STDIN)
    held = [*before]
    held[_INPUT] &= ~termios.ICRNL
    held[_LOCAL] &= ~termios.ECHO
    termios.tcsetattr(_STDIN, termios.TCSANOW, held)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSANOW, before)


def _is_ours() -> bool:
    try:
        return os.isatty(_STDIN) and os.tcgetpgrp(_STDIN) == os.getpgrp()
    except OSError:
        return False


def frame(columns: int, rows: int) -> str:
    """The frame for a terminal of this size, as escape sequences; empty for a tiny one."""
    if columns < _LEAST_COLUMNS or rows < _LEAST_ROWS:
        return ""
    across = "─" * (columns - 4)
    lines = {
        rows - 4: "  starting …",
        rows - 3: f" ╭{across}╮",
        rows - 2: f" │{' ' * (columns - 4)}│",
        rows - 1: f" ╰{across}╯",
    }
    drawn = "".join(f"\x1b[{row};1H{text}" for row, text in lines.items())
    return f"{_DIM}{drawn}{_PLAIN}"
