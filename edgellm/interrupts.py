"""Ctrl-C while native code runs that calls back into Python."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class HeldInterrupt:
    """Whether Ctrl-C waits for the end of the block."""

    came: bool = False


@contextmanager
def interrupts_held() -> Iterator[HeldInterrupt]:
    """Let Ctrl-C wait for the end of the block: no exception can fly through native code.

    It would end a callback, be shown with a traceback and get lost. Where somebody else handles
    SIGINT, and on threads that never get it, nothing changes. Raises KeyboardInterrupt at the end.
    """
    held = HeldInterrupt()
    if not _raises_here():
        yield held
        return

    def hold(number: int, frame: object) -> None:
        held.came = True

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
        if held.came:
            raise KeyboardInterrupt


def _raises_here() -> bool:
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
