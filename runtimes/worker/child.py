"""The worker's side: takes calls, runs one after the other, ends when its parent does."""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from edgellm.errors import Cancelled, EdgeLLMError
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.connection import Service
from edgellm.runtimes.failures import failure_of
from edgellm.runtimes.worker.frames import Frame, FrameError, Kind, pack, read_frame, unpack_call

PARENT_GONE = 1  # exit status nobody is left to read


class Call(NamedTuple):
    """One call that was asked for."""

    number: int
    method: str
    body: bytes
    cancel: CancelToken


class Child:
    """Owns both pipes and the calls that wait. One thread reads, another serves."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO, engine: str) -> None:
        self._requests = requests  # buffered
        self._replies = replies  # not buffered
        self._engine = engine
        self._sending = threading.Lock()
        self._changed = threading.Condition()  # guards what follows
        self._waiting: dict[int, Call] = {}  # in the order they came
        self._running: Call | None = None
        self._closing = False

    def serve(self, make_service: Callable[[], Service]) -> None:
        """Run calls until asked to close, then free the service."""
        service = self._try_making(make_service)
        while call := self._next():
            self._answer(service, call)
        if not isinstance(service, EdgeLLMError):
            service.close()

    def read(self) -> None:
        """Take messages in; when no more can come, end this process at once.

        Native code on the serving thread cannot be asked to stop, and nobody waits for it.
        """
        try:
            while frame := read_frame(self._requests):
                self._take(frame)
        except FrameError as error:
            print(f"worker: the parent sent {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(PARENT_GONE)

    def _try_making(self, make_service: Callable[[], Service]) -> Service | EdgeLLMError:
        """A service that cannot be made is what every call ends with."""
        try:
            return make_service()
        except Exception as error:
            return self._failure(error)

    def _answer(self, service: Service | EdgeLLMError, call: Call) -> None:
        try:
            if isinstance(service, EdgeLLMError):
                raise service
            kind, body = Kind.END, self._run(service, call)
            reply = pack(kind, call.number, body)
        except Exception as error:
            reply = self._error_frame(call, self._failure(error))
        with self._changed:
            self._running = None
        self._send(reply)

    def _run(self, service: Service, call: Call) -> bytes:
        def emit(item: bytes) -> None:
            self._send(pack(Kind.ITEM, call.number, item))

        return service.call(call.method, call.body, emit, call.cancel)

    def _failure(self, error: Exception) -> EdgeLLMError:
        if not isinstance(error, EdgeLLMError):
            traceback.print_exception(error)
        return failure_of(self._engine, error)

    def _error_frame(self, call: Call, error: EdgeLLMError) -> bytes:
        from edgellm.runtimes.worker.crossing import encode_error

        return pack(Kind.ERROR, call.number, encode_error(error))

    def _next(self) -> Call | None:
        """The call whose turn it is; None when the worker shall end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            self._running = self._waiting.pop(next(iter(self._waiting)))
            return self._running

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.CALL:
            method, body = unpack_call(frame.body)
            with self._changed:
                self._waiting[frame.call] = Call(frame.call, method, body, CancelToken())
                self._changed.notify()
        elif frame.kind is Kind.CANCEL:
            self._cancel(frame.call)
        elif frame.kind is Kind.CLOSE:
            self._close()
        else:
            raise FrameError(f"{frame.kind.name}, which only a worker sends")

    def _cancel(self, number: int) -> None:
        with self._changed:
            waiting = self._waiting.pop(number, None)
            running = self._running
        if waiting:
            self._send(self._error_frame(waiting, Cancelled("cancelled before it began")))
        elif running and running.number == number:
            running.cancel.cancel()

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            numbers = [*self._waiting, *([self._running.number] if self._running else [])]
            self._changed.notify()
        for number in numbers:
            self._cancel(number)

    def _send(self, frame: bytes) -> None:
        rest = memoryview(frame)
        try:
            with self._sending:
                while rest:
                    rest = rest[self._replies.write(rest) :]
        except BrokenPipeError:
            os._exit(PARENT_GONE)
