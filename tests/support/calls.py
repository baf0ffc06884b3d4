"""Calls to a connection, waited for."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgellm.errors import EdgeLLMError
from edgellm.runtimes.connection import Connection
from edgellm.runtimes.worker.connection import WorkerConnection
from tests.support.services import MODULE

LIMIT_S = 20.0


class Answer:
    """What came back of one call."""

    def __init__(self, connection: Connection, method: str, body: bytes = b"") -> None:
        self.items: list[bytes] = []
        self.ends = 0
        self._item = queue.SimpleQueue[bytes]()
        self._end = queue.SimpleQueue[bytes | EdgeLLMError]()
        self.cancel: Callable[[], None] = connection.start(
            method, body, self._on_item, self._on_end
        )

    def wait_for_item(self) -> bytes:
        return self._item.get(timeout=LIMIT_S)

    def outcome(self) -> bytes | EdgeLLMError:
        return self._end.get(timeout=LIMIT_S)

    def result(self) -> bytes:
        """The result; what went wrong is raised."""
        outcome = self.outcome()
        if isinstance(outcome, EdgeLLMError):
            raise outcome
        return outcome

    def _on_item(self, item: bytes) -> None:
        self.items.append(item)
        self._item.put(item)

    def _on_end(self, outcome: bytes | EdgeLLMError) -> None:
        self.ends += 1
        self._end.put(outcome)


@contextmanager
def worker(
    factory: str = "Oddities", memory_limit_bytes: int | None = None
) -> Iterator[WorkerConnection]:
    """A worker with one of the services of tests/support/services.py."""
    with WorkerConnection.spawn(
        f"{MODULE}:{factory}", memory_limit_bytes=memory_limit_bytes, engine="toy"
    ) as connection:
        yield connection
