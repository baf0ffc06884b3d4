"""The parent's side: calls to a service that lives in a worker process."""

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import NamedTuple

from edgellm.closing import Closing
from edgellm.errors import Cancelled, EdgeLLMError, InputError, RuntimeFailure
from edgellm.runtimes.failures import FORKED
from edgellm.runtimes.worker.crossing import decode_error
from edgellm.runtimes.worker.frames import Frame, FrameError, Kind, pack, pack_call, read_frame
from edgellm.runtimes.worker.process import WorkerProcess

_CLOSE_S = 2.0  # for freeing the service politely
_END_S = 1.0  # for a worker that has stopped talking

OnItem = Callable[[bytes], None]
OnEnd = Callable[[bytes | EdgeLLMError], None]


class WorkerConnection(Closing):
    """A service in a worker process; fulfils edgellm.runtimes.connection.Connection.

    Collecting it as garbage and leaving the interpreter kill the worker.
    """

    def __init__(self, process: WorkerProcess, engine: str) -> None:
        self._worker = _Worker(process, engine)
        weakref.finalize(self, self._worker.abandon)

    @classmethod
    def spawn(
        cls, service: str, *, memory_limit_bytes: int | None, engine: str
    ) -> "WorkerConnection":
        """Start a worker and return at once.

        service: "module:factory", what makes the service. memory_limit_bytes: private memory the
        worker may have, where the system enforces it: Linux and Windows. engine: named in errors.
        Raises RuntimeFailure when the system cannot start a process.
        """
        return cls(WorkerProcess(service, engine, memory_limit_bytes), engine)

    @property
    def pid(self) -> int:
        """The worker's process."""
        return self._worker.pid

    def start(self, method: str, body: bytes, on_item: OnItem, on_end: OnEnd) -> Callable[[], None]:
        """See Connection. Where the worker is gone, `on_end` is called before this returns.

        Keep the connection while the call runs: what is returned does not.
        """
        number = self._worker.start(method, body, on_item, on_end)
        return partial(self._worker.cancel, number)

    def close(self) -> None:
        """See Connection; a worker that does not end by itself within 2 s is killed.

        Called from `on_item` or `on_end`, it does not wait.
        """
        self._worker.close()

    def abandon(self) -> None:
        """See Connection."""
        self._worker.abandon()


class _Call(NamedTuple):
    on_item: OnItem
    on_end: OnEnd


class _Worker:
    """What the threads share; they must not hold the connection, or it would never be garbage."""

    def __init__(self, process: WorkerProcess, engine: str) -> None:
        self._process = process
        self._engine = engine
        self._numbers = count(1)
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        # Guards the next three; the garbage collector may cancel on a thread that is in here.
        self._lock = threading.RLock()
        self._calls: dict[int, _Call] = {}
        self._closing = False
        self._failure: EdgeLLMError | None = None  # what calls end with, once the worker is gone
        self._gone = threading.Event()
        self._owner = os.getpid()  # a fork has neither the threads nor the child
        self._reader = threading.Thread(target=self._read, name="edgellm-replies", daemon=True)
        self._writer = threading.Thread(target=self._write, name="edgellm-calls", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, method: str, body: bytes, on_item: OnItem, on_end: OnEnd) -> int:
        number = next(self._numbers)
        if os.getpid() != self._owner:
            on_end(RuntimeFailure(self._engine, FORKED))
            return number
        try:
            frame = pack_call(number, method, body)
        except FrameError as error:
            on_end(InputError(f"{method}: {error}"))
            return number
        with self._lock:
            failure = self._closed() if self._closing else self._failure
            if failure is None:
                self._calls[number] = _Call(on_item, on_end)
                self._outgoing.put(frame)
        if failure is not None:
            on_end(failure)
        return number

    def cancel(self, number: int) -> None:
        """Takes no lock, so that a garbage collector may call it in the middle of anything."""
        if number in self._calls:
            self._outgoing.put(pack(Kind.CANCEL, number))

    def close(self) -> None:
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closing = True
        self._outgoing.put(pack(Kind.CLOSE, 0))
        if threading.current_thread() is self._reader:
            self._process.kill()
            return
        if not self._gone.wait(_CLOSE_S):
            self._process.kill()
        self._gone.wait()
        self._reader.join()
        self._writer.join()

    def abandon(self) -> None:
        """End the worker without waiting for it; takes no lock, for the garbage collector."""
        self._closing = True
        self._process.kill()
        self._outgoing.put(None)

    def _closed(self) -> EdgeLLMError:
        return RuntimeFailure(self._engine, "is closed")

    def _write(self) -> None:
        with suppress(OSError), self._process.requests as pipe:
            while (frame := self._outgoing.get()) is not None:
                pipe.write(frame)
                pipe.flush()

    def _read(self) -> None:
        problem = "a caller's function raised, and its process was stopped"
        try:
            with self._process.replies as pipe:
                while frame := read_frame(pipe):
                    self._dispatch(frame)
            problem = ""
        except FrameError as error:
            problem = f"its process sent {error}"
        finally:
            self._end(problem)

    def _dispatch(self, frame: Frame) -> None:
        if frame.kind is Kind.ITEM:
            self._call(frame).on_item(frame.body)
        elif frame.kind is Kind.END:
            self._ended(frame).on_end(frame.body)
        elif frame.kind is Kind.ERROR:
            error = decode_error(frame.body)
            self._ended(frame).on_end(error)
        else:
            raise FrameError(f"{frame.kind.name}, which only a parent sends")

    def _call(self, frame: Frame) -> _Call:
        call = self._calls.get(frame.call)
        if call is None:
            raise FrameError(f"{frame.kind.name} for call {frame.call}, which does not run")
        return call

    def _ended(self, frame: Frame) -> _Call:
        with self._lock:
            call = self._call(frame)
            del self._calls[frame.call]
        return call

    def _end(self, problem: str) -> None:
        """The worker is gone, or has to go for the problem named: reap it and end every call."""
        if problem:
            self._process.kill()
        self._process.wait(_END_S)
        self._outgoing.put(None)
        failure = RuntimeFailure(self._engine, problem or self._process.ending())
        with self._lock:
            self._failure = failure
            ended = Cancelled("closed before it was done") if self._closing else failure
            calls, self._calls = list(self._calls.values()), {}
        try:
            for call in calls:
                call.on_end(ended)
        finally:
            self._gone.set()
