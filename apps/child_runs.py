"""An `edgellm` in a process of its own, for a program: its progress, its notes and its end."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue

from edgellm.apps.child_news import Lines, News, read_news
from edgellm.apps.cli.child import edgellm_command
from edgellm.apps.cli.settings import PROGRESS_VARIABLE
from edgellm.apps.refusals import cancelled, refused
from edgellm.children import child_environment
from edgellm.closing import Closing
from edgellm.errors import RuntimeFailure
from edgellm.interrupts import interrupts_held
from edgellm.progress import Progress, ProgressSink
from edgellm.runtimes.cancel import CancelToken, heeding
from edgellm.units import format_bytes

MAX_OUT_BYTES = 64 << 20  # a plan takes about 100 bytes a tensor
MAX_SAID_BYTES = 64 << 10  # at least, of the end of what is no news: errors, last words
GRACE_S = 5.0  # from being asked to end to being killed
_PATIENCE_S = 0.2  # Windows wakes no thread that waits for a lock when Ctrl-C is typed
_DRAIN_S = 2.0  # a process that it left behind may keep its pipes open
_PIECE_BYTES = 64 << 10
_WAITING = 256  # news that nobody has taken; then the process waits as well


def run_child(
    arguments: Sequence[str],
    *,
    progress: ProgressSink,
    note: Callable[[str], None],
    cancel: CancelToken,
) -> str:
    """Run edgellm and wait; returns what it printed on stdout.

    arguments: a verb and its options, with --json for a BudgetError that has figures. progress,
    note: called on this thread, as things happen. cancel: ends the process, as do an interrupt and
    whatever `progress` or `note` raise; a conversion goes on from there the next time.
    Raises Cancelled, what the process would have told a person (BudgetError, UsageError,
    InputError), or RuntimeFailure.
    """
    _check(cancel, arguments[0])
    with _Child(arguments) as child, heeding(cancel, child.stop):
        for news in child.news():
            if cancel.cancelled:
                continue
            if isinstance(news, Progress):
                progress(news)
            else:
                note(news)
    _check(cancel, arguments[0])
    out, said = child.printed()
    if child.code:
        raise refused(arguments[0], child.code, out, said)
    return out


def _check(cancel: CancelToken, verb: str) -> None:
    if cancel.cancelled:
        raise cancelled(verb)


class _Child(Closing):
    """Owns the process and keeps what it prints; closing it ends it, whatever it does."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Raises RuntimeFailure where the system cannot start it."""
        self._news: Queue[News | None] = Queue(_WAITING)  # None once there will be no more
        self._out = bytearray()
        self._said = bytearray()
        self._closed = threading.Event()
        self._stopped_at: float | None = None
        self._readers = [
            threading.Thread(target=read, name="edgellm-child", daemon=True)
            for read in (self._read_out, self._read_news)
        ]
        with interrupts_held() as interrupt:
            self._process = _start(arguments)
            try:
                for reader in self._readers:
                    reader.start()
            finally:
                if interrupt.came or not self._readers[-1].ident:
                    self.close()

    def news(self) -> Iterator[News]:
        """What it tells, until it has ended."""
        silent_s = 0.0  # since its end; what it has left behind may go on
        while silent_s < _DRAIN_S:
            self._kill_when_late()
            try:
                news = self._news.get(timeout=_PATIENCE_S)
            except Empty:
                silent_s += _PATIENCE_S if self._process.poll() is not None else 0.0
                continue
            if news is None:
                break
            yield news
        while not self._has_ended():
            self._kill_when_late()

    @property
    def code(self) -> int:
        """The exit code, once it has ended."""
        return int(self._process.returncode)

    def printed(self) -> tuple[str, str]:
        """What it printed, and the last of what it said on stderr besides its news.

        Once it has ended. Raises RuntimeFailure where it printed too much to keep.
        """
        for reader in self._readers:
            reader.join(_DRAIN_S)
        if len(self._out) > MAX_OUT_BYTES:
            limit = format_bytes(MAX_OUT_BYTES)
            raise RuntimeFailure("edgellm", f"its process printed more than {limit}")
        return self._out.decode("utf-8", "replace"), self._said.decode("utf-8", "replace")

    def stop(self) -> None:
        """Ask it to end; it is killed where it takes too long. From any thread."""
        self._stopped_at = self._stopped_at or time.monotonic()
        with suppress(OSError):
            self._process.terminate()

    def close(self) -> None:
        self._closed.set()
        try:
            self.stop()
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Also where Ctrl-C is typed once more.
            with suppress(OSError):
                self._process.kill()
            self._process.wait()

    def _has_ended(self) -> bool:
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _kill_when_late(self) -> None:
        if self._stopped_at is not None and time.monotonic() - self._stopped_at > GRACE_S:
            with suppress(OSError):
                self._process.kill()

    def _read_out(self) -> None:
        assert self._process.stdout
        with self._process.stdout as pipe:
            while piece := os.read(pipe.fileno(), _PIECE_BYTES):
                if len(self._out) <= MAX_OUT_BYTES:
                    self._out += piece
                else:
                    self.stop()

    def _read_news(self) -> None:
        assert self._process.stderr
        lines = Lines()
        with self._process.stderr as pipe:
            while piece := os.read(pipe.fileno(), _PIECE_BYTES):
                for line in lines.feed(piece):
                    self._hear(line)
        self._hear(lines.rest())
        self._pass_on(None)

    def _hear(self, line: bytes) -> None:
        news = read_news(line)
        if news is None:
            self._said += line + b"\n"
            if len(self._said) > 2 * MAX_SAID_BYTES:
                del self._said[:-MAX_SAID_BYTES]
        else:
            self._pass_on(news)

    def _pass_on(self, news: News | None) -> None:
        """Wait for room, unless nobody listens any more."""
        while not self._closed.is_set():
            with suppress(Full):
                self._news.put(news, timeout=_PATIENCE_S)
                return


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {
        **child_environment(),
        PROGRESS_VARIABLE: "json",
        # On Windows a pipe has an encoding of its own; a name that is no text stays legal JSON.
        "PYTHONIOENCODING": "utf-8:backslashreplace",
    }
    command = edgellm_command(*arguments)
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise RuntimeFailure("edgellm", f"cannot start {command[0]}: {error}") from error
