"""How a model gets its engine: a process of its own, or a thread of this one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import fsencode
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.errors import Cancelled, EdgeLLMError, UsageError
from edgellm.events import EngineFallback
from edgellm.runtimes.api.calls import Call, Deliver, settled
from edgellm.runtimes.api.client import Client
from edgellm.runtimes.api.stream import AsyncEvents, Events
from edgellm.runtimes.cancel import CancelToken, heeding
from edgellm.runtimes.connection import Connection
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import EventSink, Runtime, ignore_events
from edgellm.runtimes.wire import LoadCall, Loaded, encode, received

if TYPE_CHECKING:
    from edgellm.plan import Plan

ISOLATIONS = ("process", "none")


def accept(loaded: Loaded) -> None:
    """The check of a launch that has nothing to object to."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that decides how a model is loaded."""

    path: Path
    options: LoadOptions
    engine: str | Runtime = "llama.cpp"  # a row of RUNTIMES, or an engine to use as it is
    isolation: str = "process"  # one of ISOLATIONS
    memory_limit_bytes: int | None = None  # of the engine's process, where the system has limits
    cache_dir: Path | None = None  # where findings about this machine are kept; None keeps none
    check: Callable[[Loaded], None] = accept  # raises BudgetError once the sizes are known
    notice: str | None = None  # told first, as an engine.fallback
    plan: "Plan | None" = None  # what the file was planned for; None where nothing was planned

    def __post_init__(self) -> None:
        if self.isolation not in ISOLATIONS:
            expected = " or ".join(ISOLATIONS)
            raise UsageError(f"isolation is {self.isolation!r}; expected {expected}")
        if self.isolation == "process" and not isinstance(self.engine, str):
            raise UsageError("an engine of your own works in this process; give isolation='none'")

    @property
    def engine_name(self) -> str:
        return self.engine if isinstance(self.engine, str) else self.engine.name

    def open(
        self, on_event: EventSink = ignore_events, cancel: CancelToken | None = None
    ) -> Client:
        """Load and wait; `on_event` is called on this thread.

        Raises what Runtime.load raises; an interrupt or an error of `on_event` undoes the load.
        """
        self._tell(on_event)
        with undone(self._connect()) as connection:
            events = Events[Loaded, Call[Loaded]](lambda d: self._load(connection, d))
            with events, heeding(cancel, events.cancel):
                for event in events:
                    on_event(event)
            return self._client(connection, events.result())

    async def open_async(
        self, on_event: EventSink = ignore_events, cancel: CancelToken | None = None
    ) -> Client:
        """`open` for asyncio: `on_event` is called in the event loop."""
        self._tell(on_event)
        with undone(self._connect()) as connection:
            events = AsyncEvents[Loaded, Call[Loaded]](lambda d: self._load(connection, d))
            async with events:
                with heeding(cancel, events.cancel):
                    async for event in events:
                        on_event(event)
            return self._client(connection, await events.result())

    def _tell(self, on_event: EventSink) -> None:
        if self.notice is not None:
            on_event(EngineFallback(self.notice))

    def _connect(self) -> Connection:
        if self.isolation == "process":
            from edgellm.runtimes.worker.connection import WorkerConnection

            return WorkerConnection.spawn(
                "edgellm.runtimes.host.host:make_worker_host",
                memory_limit_bytes=self.memory_limit_bytes,
                engine=self.engine_name,
            )
        from edgellm.runtimes.host.host import Host, make_host
        from edgellm.runtimes.local import LocalConnection

        if isinstance(engine := self.engine, str):
            return LocalConnection(make_host, engine)
        return LocalConnection(lambda: Host(lambda name, cache_dir: engine), engine.name)

    def _load(self, connection: Connection, deliver: Deliver) -> Call[Loaded]:
        body = LoadCall(
            self.engine_name,
            fsencode(self.path.absolute()),
            self.options,
            None if self.cache_dir is None else fsencode(self.cache_dir.absolute()),
        )

        def settle(outcome: bytes | EdgeLLMError) -> Loaded:
            if isinstance(outcome, Cancelled):
                raise Cancelled(f"loading {self.path} was cancelled")
            return received(Loaded, settled(outcome), self.engine_name)

        call = Call(self.engine_name, settle, deliver)
        return call.begin(connection, "load", encode(body), stop=connection.abandon)

    def _client(self, connection: Connection, loaded: Loaded) -> Client:
        self.check(loaded)
        return Client(connection, self.engine_name, loaded, self.path, self.plan)


@contextmanager
def undone(connection: Connection) -> Iterator[Connection]:
    """Close the connection unless all goes well."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
