"""The terminal after the chat's death: a real pseudo-terminal, real processes, real signals."""

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from edgellm.apps.chat.guard import RESET, ending_signals
from tests.support.pseudo_terminals import PseudoTerminal

if sys.platform == "win32":
    pytest.skip("Windows has no such terminals", allow_module_level=True)

import termios

PATIENCE_S = 30.0
END = b"<end>"
ENTRY = b"\x1b[?1049h\x1b[?1003h\x1b[?25l"
# The terminal becomes the controlling one, as a shell would have made it.
PROGRAM = f"""
import ctypes, fcntl, os, resource, signal, sys, termios, tty
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from edgellm.apps.chat.guard import terminal_guard

def settled(guard):
    pipe = guard._watcher.stdin
    guard._tell("read by the watcher once it is done with the line before")
    while int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder):
        pass

def enter(guard):
    guard.entering()
    os.write(2, {ENTRY!r})
    tty.setcbreak(0)
    guard.entered()
    settled(guard)

with terminal_guard() as guard:
    print(guard.watcher_pid, flush=True)
"""
CHAT = """
    import asyncio
    from textual.app import App
    from edgellm.apps.chat.guard import ending_signals, guarded_driver

    class Chat(App):
        def on_mount(self):
            self.set_interval(0.01, self.refresh)
            self.call_after_refresh(lambda: os.write(1, b"drawn\\n"))

    async def main():
        chat = Chat(driver_class=guarded_driver(guard))
        with ending_signals(chat.exit):
            await chat.run_async()
        os.write(1, b"saved\\n")

    asyncio.run(main())
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def has_ended(pid: int) -> bool:
    """Whether a process is gone but for what init has yet to collect."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Terminal(PseudoTerminal):
    """With the guard, whose watcher is known."""

    watcher = 0  # its process

    def start(self, body: str) -> None:
        self.run(PROGRAM + body)
        self.watcher = int(self.stdout.readline())

    def drawn(self) -> bytes:
        """All that was written until program and watcher were gone."""
        written = bytearray()
        while self.program.poll() is None or not has_ended(self.watcher):
            self._read(written, 0.01)
        os.write(self.slave, END)
        wait_until(lambda: self._read(written, 0.1).endswith(END))
        return bytes(written).removesuffix(END)

    def _read(self, written: bytearray, wait_s: float) -> bytearray:
        if select.select([self.master], [], [], wait_s)[0]:
            written += os.read(self.master, 65536)
        return written

    def read_until(self, expected: bytes) -> bytes:
        written = bytearray()
        wait_until(lambda: expected in self._read(written, 0.1))
        return bytes(written)

    def is_restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.modes


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal() as terminal:
        yield terminal


@pytest.mark.parametrize(
    ("death", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGHUP)", -signal.SIGHUP),
        ("ctypes.string_at(0)", -signal.SIGSEGV),
        ("os.abort()", -signal.SIGABRT),
        ("os._exit(7)", 7),
        ("sys.stderr = open(os.devnull, 'w'); 1 / 0", 1),
    ],
)
def test_the_terminal_is_as_before_after_a_death(terminal: Terminal, death: str, code: int) -> None:
    terminal.start(f"    enter(guard)\n    {death}")
    assert terminal.drawn() == ENTRY + RESET.encode()
    assert terminal.program.returncode == code
    assert terminal.is_restored()


def test_a_clean_end_writes_nothing(terminal: Terminal) -> None:
    terminal.start(
        "    before = termios.tcgetattr(0)\n"
        "    enter(guard)\n"
        "    termios.tcsetattr(0, termios.TCSANOW, before)\n"
        "    guard.left()"
    )
    assert terminal.drawn() == ENTRY
    assert terminal.program.returncode == 0
    assert terminal.is_restored()


def test_a_death_before_the_terminal_was_changed_writes_nothing(terminal: Terminal) -> None:
    terminal.start("    os.kill(os.getpid(), signal.SIGKILL)")
    assert terminal.drawn() == b""


def test_a_death_while_an_editor_has_the_terminal_writes_nothing(terminal: Terminal) -> None:
    terminal.start("    enter(guard)\n    guard.left()\n    os.kill(os.getpid(), signal.SIGKILL)")
    assert terminal.drawn() == ENTRY


def test_modes_that_another_program_has_set_meanwhile_stay(terminal: Terminal) -> None:
    terminal.start("    enter(guard)\n    print('entered', flush=True)\n    signal.pause()")
    terminal.stdout.readline()
    os.kill(terminal.watcher, signal.SIGSTOP)
    terminal.program.kill()
    terminal.program.wait()
    theirs = termios.tcgetattr(terminal.slave)
    theirs[3] |= termios.ISIG | termios.ECHONL
    termios.tcsetattr(terminal.slave, termios.TCSANOW, theirs)
    os.kill(terminal.watcher, signal.SIGCONT)
    assert terminal.drawn() == ENTRY + RESET.encode()
    assert termios.tcgetattr(terminal.slave) == theirs


def test_signals_that_end_other_programs_do_not_end_the_watcher(terminal: Terminal) -> None:
    terminal.start("    enter(guard)\n    print('entered', flush=True)\n    signal.pause()")
    terminal.stdout.readline()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(terminal.watcher, number)
        os.killpg(terminal.watcher, number)
    terminal.program.kill()
    assert terminal.drawn() == ENTRY + RESET.encode()
    assert terminal.is_restored()


def test_the_chat_outlives_its_watcher(terminal: Terminal) -> None:
    terminal.start(
        "    os.kill(guard.watcher_pid, signal.SIGKILL)\n"
        "    guard._watcher.wait()\n"
        "    guard.entering()\n"
        "    guard.left()\n"
        "    print('alive', flush=True)"
    )
    assert terminal.stdout.readline() == b"alive\n"
    terminal.drawn()
    assert terminal.program.returncode == 0


def test_the_watcher_ends_with_a_terminal_that_is_gone(terminal: Terminal) -> None:
    terminal.start("    enter(guard)\n    print('entered', flush=True)\n    signal.pause()")
    terminal.stdout.readline()
    terminal.hang_up()
    assert terminal.program.wait(PATIENCE_S) == -signal.SIGHUP
    wait_until(lambda: has_ended(terminal.watcher))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_terminal_is_as_before_after_the_death_of_a_textual_app(
    terminal: Terminal, number: signal.Signals
) -> None:
    terminal.start(CHAT)
    assert terminal.stdout.readline() == b"drawn\n"
    assert not terminal.is_restored()
    terminal.program.send_signal(number)
    drawn = terminal.drawn()
    assert drawn.endswith(RESET.encode())
    assert drawn.count(b"\x1b[?1049l") == 1
    assert terminal.is_restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_asks_for_the_end_lets_a_textual_app_save(
    terminal: Terminal, number: signal.Signals
) -> None:
    terminal.start(CHAT)
    assert terminal.stdout.readline() == b"drawn\n"
    terminal.program.send_signal(number)
    drawn = terminal.drawn()
    assert terminal.stdout.readline() == b"saved\n"
    assert terminal.program.returncode == 0
    assert drawn.count(b"\x1b[?1049l") == 1  # Textual's own
    assert terminal.is_restored()


def test_a_textual_app_whose_terminal_is_closed_saves_and_ends(terminal: Terminal) -> None:
    terminal.start(CHAT)
    assert terminal.stdout.readline() == b"drawn\n"
    terminal.hang_up()
    assert terminal.stdout.readline() == b"saved\n"
    assert terminal.program.wait(PATIENCE_S) == 0


def test_all_that_textual_switches_is_switched_back(terminal: Terminal) -> None:
    terminal.start(CHAT)
    assert terminal.stdout.readline() == b"drawn\n"
    os.write(terminal.master, b"\x1b[?2048;2$y")  # a terminal that can report its size
    written = terminal.read_until(b"\x1b[?1016h")
    terminal.program.kill()
    written += terminal.drawn().removesuffix(RESET.encode())
    last = dict(re.findall(r"\x1b\[\?(\d+)([hl])", written.decode()))
    assert {"1049", "1003", "2004", "2048", "7", "25"} <= last.keys()
    last["2026"] = "h"  # the worst moment
    back = dict(re.findall(r"\x1b\[\?(\d+)([hl])", RESET))
    opposite = {"h": "l", "l": "h"}
    assert {mode: back.get(mode) for mode in last} == {
        mode: opposite[state] for mode, state in last.items()
    }


def test_without_a_terminal_there_is_no_watcher() -> None:
    program = (
        "from edgellm.apps.chat.guard import guarded_driver, terminal_guard\n"
        "with terminal_guard() as guard:\n"
        "    guard.entering()\n"
        "    print(guard.watcher_pid, guarded_driver(guard))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert run.stdout.split() == [b"None", b"None"]


def test_in_a_browser_textual_chooses_the_driver(terminal: Terminal) -> None:
    terminal.start(
        "    os.environ['TEXTUAL_DRIVER'] = 'textual.drivers.web_driver:WebDriver'\n"
        "    from edgellm.apps.chat.guard import guarded_driver\n"
        "    print(guarded_driver(guard), flush=True)"
    )
    assert terminal.stdout.readline() == b"None\n"
    terminal.drawn()


def test_starting_the_guard_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from edgellm.apps.chat.guard import terminal_guard\n"
        "with terminal_guard():\n    print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert not {b"textual", b"asyncio", b"rich"} & set(run.stdout.split())


def test_a_signal_handler_is_taken_away_again() -> None:
    async def use() -> None:
        with ending_signals(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    before = signal.getsignal(signal.SIGTERM)
    asyncio.run(use())


def test_a_terminal_that_controls_nobody_is_used_all_the_same() -> None:
    import pty

    master, slave = pty.openpty()
    program = (
        "from edgellm.apps.chat.guard import terminal_guard\n"
        "with terminal_guard() as guard:\n"
        "    guard.entering()\n"
        "    guard.left()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        timeout=60,
    )
    os.close(slave)
    os.close(master)
    assert done.returncode == 0
