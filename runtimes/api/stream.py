"""An answer as it comes: an iterator of events that is a context manager as well."""

import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from edgellm.closing import AsyncClosing, Closing
from edgellm.events import Done, Event
from edgellm.runtimes.api.calls import Call, Deliver, take
from edgellm.runtimes.api.client import AnswerCall

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
CallT = TypeVar("CallT", bound=Call[Any])


class Events(Closing, Generic[T, CallT]):
    """The events of one call, waited for; leaving it stops the call."""

    def __init__(self, begin: Callable[[Deliver], CallT]) -> None:
        self._inbox: SimpleQueue[Event | None] = SimpleQueue()
        self._call = begin(self._inbox.put)
        weakref.finalize(self, self._call.cancel)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            event = take(self._inbox)
        except BaseException:
            self.cancel()
            raise
        if event is None:
            self._inbox.put(None)  # for whoever asks again
            self._call.result()
            raise StopIteration
        return event

    def result(self) -> T:
        """What it ended with, waited for; the events need not be iterated over first.

        Raises what iterating raises.
        """
        result: T = self._call.result()
        return result

    def cancel(self) -> None:
        """Ask for the end; what there is until then is kept."""
        self._call.cancel()

    def close(self) -> None:
        """Stop the work and wait until it has stopped."""
        self._call.cancel()
        self._call.wait()


class AsyncEvents(AsyncClosing, Generic[T, CallT]):
    """The events of one call, awaited; leaving it stops the call."""

    def __init__(self, begin: Callable[[Deliver], CallT]) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Event | None] = asyncio.Queue()
        self._inbox = inbox
        self._call = begin(lambda event: _post(loop, inbox, event))
        weakref.finalize(self, self._call.cancel)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        import asyncio

        try:
            event = await self._inbox.get()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if event is None:
            self._inbox.put_nowait(None)  # for whoever asks again
            await self._call.arrival()
            raise StopAsyncIteration
        return event

    async def result(self) -> T:
        """What it ended with, awaited; the events need not be iterated over first.

        Raises what iterating raises.
        """
        result: T = await self._call.arrival()
        return result

    def cancel(self) -> None:
        """Ask for the end; what there is until then is kept."""
        self._call.cancel()

    async def close(self) -> None:
        """Stop the work and wait until it has stopped."""
        self._call.cancel()
        await self._call.ended()


class Stream(Events[Done, AnswerCall]):
    """One answer. Iterate over its events, the last of which is Done; leave it to stop it.

        with chat.send("Hello") as stream:
            for event in stream:
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)
        print(stream.result().usage)  # the Done of what there is, also after a cancel

    Iterating raises what went wrong, from the tree in edgellm.errors. `cancel`, `text` and
    `result` may be used on any thread. A stream that is forgotten stops.
    """

    @property
    def text(self) -> str:
        """What has been answered so far."""
        return self._call.text


class AsyncStream(AsyncEvents[Done, AnswerCall]):
    """Stream for asyncio, to be used in the event loop that it was made in.

        async with chat.send("Hello") as stream:
            async for event in stream: ...
        done = await stream.result()

    A task that is cancelled while it waits here cancels the answer. `cancel` and `text` may be
    used on any thread.
    """

    @property
    def text(self) -> str:
        """What has been answered so far."""
        return self._call.text


def _post(
    loop: "asyncio.AbstractEventLoop", inbox: "asyncio.Queue[Event | None]", event: Event | None
) -> None:
    loop.call_soon_threadsafe(inbox.put_nowait, event)
