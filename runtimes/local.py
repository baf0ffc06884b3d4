"""A service on a thread of this process: nothing to start, nothing between it and the caller."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgellm.closing import Closing
from edgellm.errors import Cancelled, EdgeLLMError, RuntimeFailure
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.connection import Service
from edgellm.runtimes.failures import FORKED, failure_of


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    body: bytes
    on_item: Callable[[bytes], None]
    on_end: Callable[[bytes | EdgeLLMError], None]
    cancel: CancelToken = field(default_factory=CancelToken)


class LocalConnection(Closing):
    """Owns a thread that makes the service and does one call after the other.

    One that is forgotten, or still open when the interpreter ends, is closed all the same.
    """

    def __init__(self, make_service: Callable[[], Service], engine: str) -> None:
        """engine: named by failures. The service is made with the first call."""
        self._line = _Line(engine)
        # The thread knows the line but not this object, which can so be forgotten.
        thread = threading.Thread(
            target=_work, args=(self._line, make_service), name=f"edgellm {engine}", daemon=True
        )
        thread.start()
        self._finish = weakref.finalize(self, _finish, self._line, thread)

    def start(
        self,
        method: str,
        body: bytes,
        on_item: Callable[[bytes], None],
        on_end: Callable[[bytes | EdgeLLMError], None],
    ) -> Callable[[], None]:
        """See edgellm.runtimes.connection.Connection.start."""
        call = _Call(method, body, on_item, on_end)
        self._line.add(call)
        return call.cancel.cancel

    def close(self) -> None:
        """See edgellm.runtimes.connection.Connection.close."""
        self._finish()

    def abandon(self) -> None:
        """See edgellm.runtimes.connection.Connection.abandon: what runs is asked to stop."""
        self._line.close()


class _Line:
    """Calls that wait, and the one that runs."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self._calls: deque[_Call] = deque()
        self._running: _Call | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._owner = os.getpid()  # a fork has no thread that works

    def add(self, call: _Call) -> None:
        if os.getpid() != self._owner:
            call.on_end(RuntimeFailure(self.engine, FORKED))
            return
        with self._changed:
            if not self._closed:
                self._calls.append(call)
                self._changed.notify()
                return
        call.on_end(RuntimeFailure(self.engine, "is closed"))

    def next(self) -> _Call | None:
        """The next call, waited for; None once closed."""
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._calls or self._closed)
            self._running = self._calls.popleft() if self._calls else None
            return self._running

    def close(self) -> None:
        """Cancel every call; those that wait end as cancelled when their turn comes."""
        with self._changed:
            self._closed = True
            calls = [*self._calls, *([self._running] if self._running else [])]
            self._changed.notify()
        for call in calls:
            call.cancel.cancel()


def _finish(line: _Line, thread: threading.Thread) -> None:
    line.close()
    if thread is not threading.current_thread():  # a callback of a call may close
        thread.join()


def _work(line: _Line, make_service: Callable[[], Service]) -> None:
    service: Service | None = None
    while call := line.next():
        if call.cancel.cancelled:
            call.on_end(Cancelled(f"{call.method} was cancelled before it began"))
            continue
        try:
            service = service or make_service()
            outcome: bytes | EdgeLLMError = service.call(
                call.method, call.body, call.on_item, call.cancel
            )
        except Exception as error:  # a defect ends the call that met it, not the calls after it
            outcome = failure_of(line.engine, error)
            outcome.__cause__ = None if outcome is error else error
        call.on_end(outcome)
        del call
    if service is not None:
        service.close()
