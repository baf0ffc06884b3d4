"""How a process ended, as one line of an error."""

import re
import signal

from edgellm.runtimes.failures import printable_line
from edgellm.units import format_bytes

_SIGABRT, _SIGKILL = 6, 9  # Windows' Python does not name the latter
_LINES = 3
_CHARACTERS = 400
# Windows ends a crashed process with an NTSTATUS.
_STATUSES = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC0000017: "out of memory",
    0xC00000FD: "stack overflow",
    0xC0000409: "aborted",
}
# What faulthandler writes; the lines before it are the engine's own.
_FAULT = re.compile(r"^(?:Fatal Python error|Windows fatal exception): ", re.MULTILINE)
_TRACEBACK = re.compile(r"^Traceback \(most recent call last\):$", re.MULTILINE)
_FOLDERS = re.compile(r"\S*[/\\](?=[\w.-]+:\d+: )")  # of a source file, where it was built
_FRAME = re.compile(r"^  File .+$", re.MULTILINE)


def ending(status: int, log: str, memory_limit_bytes: int | None = None) -> str:
    """What ended it, what it said last, and what may be the reason.

    status: as subprocess gives it. log: the end of what it wrote to stderr.
    """
    hint = ""
    if status == -_SIGKILL:
        hint = "perhaps the system is out of memory"
    elif status == -_SIGABRT and memory_limit_bytes:
        hint = f"perhaps for its limit of {format_bytes(memory_limit_bytes)} of memory"
    parts = (f"its process ended with {status_name(status)}", last_words(log), hint)
    return "; ".join(filter(None, parts))


def status_name(status: int) -> str:
    if status < 0:
        return f"signal {-status} ({(signal.strsignal(-status) or 'unknown').lower()})"
    if status in _STATUSES:
        return f"status {status:#010x} ({_STATUSES[status]})"
    return f"status {status}"


def last_words(log: str) -> str:
    """The last lines that tell something; for a bare fault, where in Python it happened."""
    said, *fault = _FAULT.split(log, maxsplit=1)
    lines = [line for line in map(printable_line, _without_tracebacks(said)) if line]
    lines = [_FOLDERS.sub("", line) for line in lines]
    if not lines and fault:
        lines = [printable_line(frame) for frame in _FRAME.findall(fault[0])[:1]]
    return "; ".join(lines[-_LINES:])[-_CHARACTERS:]


def _without_tracebacks(log: str) -> list[str]:
    """The lines of a log; of each traceback only the last, which says what went wrong."""
    before, *tracebacks = _TRACEBACK.split(log)
    lines = before.splitlines()
    for traceback in tracebacks:
        lines += [line for line in traceback.splitlines() if not line.startswith(" ")]
    return lines
