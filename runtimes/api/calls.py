"""One call of a connection as its caller sees it: events as they come, then a result."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

from edgellm.errors import EdgeLLMError, RuntimeFailure
from edgellm.events import Event
from edgellm.runtimes.connection import Connection
from edgellm.runtimes.wire import received_event

T = TypeVar("T")

# Takes each event, and None after the last; called on a thread of the connection.
Deliver = Callable[[Event | None], None]
# Windows wakes no thread that waits for a lock when Ctrl-C is typed.
_PATIENCE_S = 0.2 if sys.platform == "win32" else None


def deliver_to_nobody(event: Event | None) -> None:
    """For calls whose events nobody watches."""


class Call(Generic[T]):
    """Owns what is known of one call; everything here may be called on any thread."""

    def __init__(
        self,
        engine: str,
        settle: Callable[[bytes | EdgeLLMError], T],
        deliver: Deliver = deliver_to_nobody,
    ) -> None:
        """settle: makes the result of what ended the call, or raises an EdgeLLMError."""
        self._engine = engine
        self._settle = settle
        self._deliver = deliver
        self._broken: RuntimeFailure | None = None  # what came could not be read
        self._cancelled = False
        self._connection: Connection | None = None
        self._stop: Callable[[], None] | None = None
        self._future: Future[T] = Future()
        self._future.set_running_or_notify_cancel()  # from now on only the call itself ends it

    def begin(
        self,
        connection: Connection,
        method: str,
        body: bytes,
        stop: Callable[[], None] | None = None,
    ) -> Self:
        """Start it; once. The connection stays at least until the call has ended.

        stop: what cancelling calls; None is what ends this call alone.
        """
        self._connection = connection
        cancel = connection.start(method, body, self._on_item, self._on_end)
        self._stop = stop or cancel
        if self._cancelled:
            self.cancel()
        return self

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        """Ask for the end; it still comes as a result or an error."""
        self._cancelled = True
        if self._stop is not None and not self._future.done():
            self._stop()

    def result(self) -> T:
        """Wait for it; an interrupt of the wait cancels the call."""
        try:
            while True:
                try:
                    return self._future.result(_PATIENCE_S)
                except TimeoutError:
                    continue
        except BaseException:
            self.cancel()
            raise

    async def arrival(self) -> T:
        """`result` for asyncio: cancelling the task cancels the call."""
        import asyncio  # takes longer than all the rest, and most programs go without

        try:
            return await asyncio.shield(asyncio.wrap_future(self._future))
        except asyncio.CancelledError:
            self.cancel()
            raise

    def wait(self) -> None:
        """Return when it has ended, however it did."""
        self._future.exception()

    async def ended(self) -> None:
        """`wait` for asyncio."""
        import asyncio

        future = asyncio.wrap_future(self._future)
        await asyncio.wait([future])
        future.exception()

    def _on_item(self, item: bytes) -> None:
        if self._broken is not None:
            return
        try:
            self._pass_on(received_event(item, self._engine))
        except RuntimeFailure as failure:
            self._broken = failure
            self.cancel()

    def _on_end(self, outcome: bytes | EdgeLLMError) -> None:
        try:
            self._future.set_result(self._settle(self._broken or outcome))
        except EdgeLLMError as error:
            self._future.set_exception(error)
        self._pass_on(None)
        self._connection = None

    def _pass_on(self, event: Event | None) -> None:
        try:
            self._deliver(event)
        except RuntimeError:  # the event loop that waited is gone
            self.cancel()


def settled(outcome: bytes | EdgeLLMError) -> bytes:
    """The result of a call, or its error raised."""
    if isinstance(outcome, EdgeLLMError):
        raise outcome
    return outcome


def take(inbox: "SimpleQueue[Event | None]") -> Event | None:
    """The next event of an inbox, waited for so that Ctrl-C is heard everywhere."""
    while True:
        try:
            return inbox.get(timeout=_PATIENCE_S)
        except Empty:
            continue
