"""Small services for worker processes: well-behaved ones, and ones that end badly."""

import ctypes
import json
import mmap
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module

from edgellm.errors import BudgetError, Cancelled
from edgellm.runtimes.cancel import CancelToken

Emit = Callable[[bytes], None]
MODULE = "tests.support.services"


class Oddities:
    """Each method is one way to behave; `call` finds it by name."""

    def call(self, method: str, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        result: bytes = getattr(self, method)(body, emit, cancel)
        return result

    def close(self) -> None:
        """Holds nothing."""

    def echo(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        for byte in body[:3]:
            emit(bytes([byte]))
        return body

    def count(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """As many items as the body says, one after the other."""
        for number in range(int(body)):
            emit(b"%d" % number)
        return b"done"

    def until_cancelled(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        emit(b"began")
        while not cancel.cancelled:
            time.sleep(0.005)
        raise Cancelled("as asked")

    def native_sleep(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """Hears nothing while it runs."""
        emit(b"began")
        time.sleep(float(body))
        return b""

    def abort(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        os.write(2, b"ggml.c:42: GGML_ASSERT(n > 0) failed\n")
        os.abort()

    def segfault(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        return ctypes.string_at(8)

    def kill(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        emit(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    def exit(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        sys.exit(int(body))

    def flood(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """Far more on stderr than a pipe or the kept end of it holds, then death."""
        for _ in range(60):
            os.write(2, b"x" * 9999 + b"\n")
        os.write(2, b"\x1b[31mlast words\n")
        os._exit(3)

    def prints(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        print("from Python", flush=True)
        os.write(1, b"from native code\n")
        return b"clean"

    def reads(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        return sys.stdin.read().encode()

    def rubbish(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """Writes to each pipe it can find, as code that was taken over might."""
        for number in range(3, 20):
            try:
                os.write(number, body)
            except OSError:
                continue
        time.sleep(60)
        return b""

    def defect(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        raise KeyError(body.decode())

    def too_big(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        parts = {"weights": 2**40, "kv_cache": 7}
        raise BudgetError(
            "needs more", needed_bytes=9, budget_bytes=5, largest_context=3, parts=parts
        )

    def allocate(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """As many bytes of private memory as the body says, touched."""
        return b"%d" % len(bytearray(int(body)))

    def map_file(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """The length of the file that the body names, mapped as a model's weights are."""
        with open(body) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:  # noqa: PTH123
            return b"%d" % len(mapped)

    def result_of(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """As many bytes as the body says, in one message."""
        return bytes(int(body))

    def imports_on_a_thread(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """Whether a second thread can import from a package of ours."""
        importing = threading.Thread(target=import_module, args=(body.decode(),), daemon=True)
        importing.start()
        importing.join(10)
        return b"hangs" if importing.is_alive() else b"imported"

    def facts(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        heavy = {"numpy", "typer", "rich", "gguf", "llama_cpp", "msgspec"} & set(sys.modules)
        return json.dumps({"modules": sorted(heavy), "path": sys.path}).encode()


class Stubborn(Oddities):
    """Does not end when asked to."""

    def close(self) -> None:
        time.sleep(60)


class Leaving(Oddities):
    """Leaves a file behind when it is freed."""

    def close(self) -> None:
        with open(os.environ["FREED"], "x"):  # noqa: PTH123 (the shortest)
            pass


def unusable() -> Oddities:
    raise BudgetError("nothing fits", needed_bytes=1, budget_bytes=0, largest_context=0, parts={})


def deaf() -> Oddities:
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return Oddities()
