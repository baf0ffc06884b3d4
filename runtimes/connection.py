"""How a caller reaches the process or thread that an engine works in.

A service does the work; a connection carries calls to it and brings back what it sends. Both know
bytes only: what they mean is agreed between `edgellm.runtimes.host.host` and its callers.
"""

from collections.abc import Callable
from typing import Protocol

from edgellm.errors import EdgeLLMError
from edgellm.runtimes.cancel import CancelToken


class Service(Protocol):
    """Does one call after the other, all on one thread."""

    def call(
        self, method: str, body: bytes, emit: Callable[[bytes], None], cancel: CancelToken
    ) -> bytes:
        """Do it: `emit` sends an item now, what is returned goes last. Raises EdgeLLMError."""
        ...

    def close(self) -> None:
        """Free everything; on the same thread, after the last call."""
        ...


class Connection(Protocol):
    """A service elsewhere. Calls wait in line; everything here may be called on any thread."""

    def start(
        self,
        method: str,
        body: bytes,
        on_item: Callable[[bytes], None],
        on_end: Callable[[bytes | EdgeLLMError], None],
    ) -> Callable[[], None]:
        """Begin a call; returns what cancels it.

        `on_item` and `on_end` are called on a thread of the connection and must return at once.
        `on_end` is called exactly once, with the result or with what went wrong: RuntimeFailure
        when the service died, Cancelled when the call was cancelled before it began.
        """
        ...

    def close(self) -> None:
        """Cancel what is running, free the service and wait until it is gone."""
        ...

    def abandon(self) -> None:
        """End every call as cancelled, as soon as can be and without waiting; then close().

        For a service that nobody needs any more: a process is killed in the middle of its work.
        """
        ...
