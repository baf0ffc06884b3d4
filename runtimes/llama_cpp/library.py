"""The loaded llama.cpp library: one per process, silent, its log kept for error messages."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import ArgumentError, c_void_p
from functools import cache
from typing import TextIO

from edgellm.errors import RuntimeFailure
from edgellm.runtimes.llama_cpp.bindings import llama

ENGINE = "llama.cpp"
_KEPT_LINES = 2000
_DEBUG, _WARN, _ERROR, _CONTINUED = 1, 3, 4, 5  # enum ggml_log_level
_SHOWN_LINES = 3


class StatusError(Exception):
    """A call into llama.cpp returned a failure."""


class Library:
    """Owns llama.cpp's process-wide state: the backends and the log callback."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=_KEPT_LINES)
        self._count = 0  # lines ever logged
        self._partial = ""
        self._level = 0
        self._lock = threading.Lock()
        self._copies: list[TextIO] = []
        self._callback = llama.llama_log_callback(self._receive)
        self.mark()
        llama.llama_backend_init()

    def mark(self) -> int:
        """Where the log is now, for `lines_since`.

        The log is one for the whole process, and others may have taken it since: it is taken back.
        """
        llama.llama_log_set(self._callback, c_void_p(0))
        return self._count

    def copy_to(self, log: TextIO) -> None:
        """Write every line there as well, from now on."""
        if log not in self._copies:
            self._copies.append(log)

    def lines_since(self, mark: int) -> list[str]:
        return [line for _, line in self._since(mark)]

    def complaints_since(self, mark: int) -> str:
        """The last warnings and errors as one line; empty when there was nothing to complain of."""
        lines = [line for level, line in self._since(mark) if level in (_WARN, _ERROR)]
        return "; ".join(lines[-_SHOWN_LINES:])

    @contextmanager
    def failures(self, doing: str) -> Iterator[None]:
        """Turn what the engine raises meanwhile into RuntimeFailure, with its last log lines."""
        mark = self.mark()
        try:
            yield
        except (StatusError, ArgumentError, OSError) as error:
            complaints = self.complaints_since(mark)
            detail = f"{error}; {complaints}" if complaints else str(error)
            raise RuntimeFailure(ENGINE, f"{doing}: {detail}") from error

    def _since(self, mark: int) -> list[tuple[int, str]]:
        with self._lock:
            fresh = min(self._count - mark, len(self._lines))
            return list(self._lines)[len(self._lines) - fresh :]

    def _receive(self, level: int, text: bytes | None, _: object) -> None:
        """Called by llama.cpp from any of its threads; lines may come in pieces."""
        with self._lock:
            if level != _CONTINUED:
                self._level = level
            if self._level == _DEBUG:
                return  # a dozen lines for each layer: they would crowd out the others
            logged = self._partial + (text or b"").decode("utf-8", "replace")
            *whole, self._partial = logged.split("\n")
            for line in whole:
                self._keep(" ".join("".join(c if c.isprintable() else " " for c in line).split()))

    def _keep(self, line: str) -> None:
        self._lines.append((self._level, line))
        self._count += 1
        for log in self._copies:
            print(line, file=log, flush=True)


@cache
def load_library() -> Library:
    """The library, started on first use; the log callback lives as long as the process."""
    return Library()
