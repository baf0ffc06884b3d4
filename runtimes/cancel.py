"""Asking slow work to stop, from any thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CancelToken:
    """Asks a load or an answer to stop; safe from any thread."""

    def __init__(self) -> None:
        # A collected stream cancels its call on any thread, also on one that is in here.
        self._lock = threading.RLock()
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on cancel, or now if that has happened; returns how to stop."""
        with self._lock:
            self._listeners.append(listener)
            already = self._cancelled
        if already:
            listener()
        return lambda: self._listeners.remove(listener)


@contextmanager
def heeding(cancel: CancelToken | None, stop: Callable[[], None]) -> Iterator[None]:
    """Let the token stop something meanwhile."""
    if cancel is None:
        yield
        return
    silence = cancel.listen(stop)
    try:
        yield
    finally:
        silence()
