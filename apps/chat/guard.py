"""What puts a terminal back in order after any death of the chat, and signals that end it.

A terminal in raw mode, on its alternate screen, that reports the mouse and hides its cursor is of
no use to a shell. Textual undoes all that where Python still runs; SIGKILL, a fault in native code
and os._exit leave it behind. So a watcher outlives the chat: a shell of 0.1 MiB that holds one end
of a pipe. (A fork of this process would keep 10 MiB alive, and a second Python takes 3 MiB.)

On Windows nothing of this is done. Console modes belong to the console there, not to the process:
after a kill, cmd and PowerShell set those they need, and the alternate screen stays until another
program leaves it (https://github.com/microsoft/terminal/issues/20715).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from textual.driver import Driver

# What Textual's Linux driver switches on is switched off, in the order of its own end. CAN drops
# a sequence that was cut short; the keyboard's flags are kept per screen, so they go first.
RESET = (
    "\x18"
    "\x1b[?2026l"  # an update that waits for its end
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # bracketed paste, line wrap, resize reports
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l"  # the mouse
    "\x1b]22;default\x07"  # the pointer's shape
    "\x1b[<u"  # the Kitty keyboard protocol
    "\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[0m"  # alternate screen, cursor, focus reports, colours
)
# The pipe's end means that no thread of the chat is left: nobody writes after the reset. Modes are
# given back only while they are the chat's; by then a shell may have set its own for a prompt.
_WATCHER = """
trap '' HUP INT QUIT TERM
exec 3>&1 4>&2 2>/dev/null
before= during=
while read -r word modes; do
  case $word in
    entering) before=$modes during= ;;
    entered) during=$(stty -g <&3) ;;
    left) before= ;;
  esac
done
[ "$before" ] || exit 0
printf "$1" >&4
[ "$during" ] && [ "$during" != "$(stty -g <&3)" ] && exit 0
stty $before <&3
"""
_WATCHER_NAME = "edgellm-terminal-watcher"
_INPUT_MODES = ("ixon", "ixoff", "icrnl", "inlcr", "igncr")  # those that Textual changes, as
_LOCAL_MODES = ("echo", "icanon", "iexten", "isig")  # stty(1) calls them
_STDIN, _STDERR = 0, 2  # where Textual reads and where it draws
_LEAVE_S = 2.0  # a watcher that cannot write to its terminal is not waited for
_ENDING = ("SIGTERM", "SIGHUP")


class TerminalGuard:
    """Tells the watcher whether there is something to undo; without a watcher it does nothing."""

    def __init__(self, watcher: "subprocess.Popen[bytes] | None" = None) -> None:
        self._watcher = watcher

    @property
    def watcher_pid(self) -> int | None:
        """The watcher's process, where there is one."""
        return None if self._watcher is None else self._watcher.pid

    def entering(self) -> None:
        """Call before the terminal is changed: its modes are now those to give back."""
        if self._watcher is not None and _is_ours():
            self._tell(f"entering {_present_modes()}")

    def entered(self) -> None:
        """Call once the terminal has the chat's modes."""
        self._tell("entered")

    def left(self) -> None:
        """Call once the terminal is as it was before entering()."""
        self._tell("left")

    def close(self) -> None:
        """End the watcher; it first undoes what was entered and not left."""
        if self._watcher is None:
            return
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        try:
            self._watcher.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._watcher.kill()
            self._watcher.wait()
        self._watcher = None

    def _tell(self, line: str) -> None:
        if self._watcher is None:
            return
        assert self._watcher.stdin is not None
        with suppress(BrokenPipeError):  # somebody killed it
            self._watcher.stdin.write(line.encode() + b"\n")


@contextmanager
def terminal_guard() -> Iterator[TerminalGuard]:
    """Watch over the terminal while inside; give the guard to guarded_driver().

    Costs about a millisecond, and imports nothing of Textual: enter it before that is imported. On
    Windows and without a terminal the guard does nothing.
    """
    guard = TerminalGuard(_start_watcher() if _has_terminal() else None)
    try:
        yield guard
    finally:
        guard.close()


def guarded_driver(guard: TerminalGuard) -> "type[Driver] | None":
    """The driver for `App(driver_class=...)`; None lets Textual choose, as in a browser."""
    from textual import constants

    if sys.platform == "win32" or guard.watcher_pid is None or constants.DRIVER is not None:
        return None
    from edgellm.apps.chat.guarded_driver import driver_of

    return driver_of(guard)


@contextmanager
def ending_signals(
    stop: Callable[[], None], *names: Literal["SIGINT", "SIGTERM", "SIGHUP"]
) -> Iterator[None]:
    """While inside, SIGTERM and SIGHUP call `stop` in the running loop, so that the app can save.

    names: other signals than these two. Does nothing on Windows, whose loops hear of none.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    handled = []
    for name in names or _ENDING:
        with suppress(NotImplementedError, AttributeError):
            loop.add_signal_handler(getattr(signal, name), stop)
            handled.append(getattr(signal, name))
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


def _has_terminal() -> bool:
    return sys.platform != "win32" and os.isatty(_STDIN) and os.isatty(_STDERR)


def _is_ours() -> bool:
    """Whether the terminal is there and is not lent to another program of the shell."""
    try:
        return os.isatty(_STDIN) and os.tcgetpgrp(_STDIN) == os.getpgrp()
    except OSError:  # a terminal that controls nobody is nobody else's either
        return True


def _start_watcher() -> "subprocess.Popen[bytes] | None":
    escaped = RESET.replace("\x18", r"\030").replace("\x1b", r"\033").replace("\x07", r"\007")
    path = os.pathsep.join((os.environ.get("PATH", ""), os.defpath))
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _WATCHER, _WATCHER_NAME, escaped],
            stdin=subprocess.PIPE,
            stdout=_STDIN,
            stderr=_STDERR,
            bufsize=0,
            cwd="/",
            env={"PATH": path},
            # Signals to the chat's group pass it by, and it may set modes from the background.
            start_new_session=True,
        )
    except OSError:  # no shell, or no process to be had: the chat works without
        return None


def _present_modes() -> str:
    """The terminal's modes that the chat changes, as arguments of stty."""
    import termios

    input_flags, _, _, local_flags, *_ = termios.tcgetattr(_STDIN)
    groups = ((input_flags, _INPUT_MODES), (local_flags, _LOCAL_MODES))
    return " ".join(
        name if flags & getattr(termios, name.upper()) else f"-{name}"
        for flags, names in groups
        for name in names
    )
