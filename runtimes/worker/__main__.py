"""The worker process: `python -m edgellm.runtimes.worker MODULE:FACTORY ENGINE LIMIT_BYTES`.

Its stdin and stdout are the two pipes to the parent; LIMIT_BYTES is 0 for no limit.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from typing import BinaryIO

from edgellm.runtimes.connection import Service
from edgellm.runtimes.worker.child import PARENT_GONE, Child
from edgellm.runtimes.worker.limits import leave_no_core, limit_memory

_STDERR = 2
_ORPHAN_CHECK_S = 1.0


def main() -> None:
    requests, replies = take_pipes()
    service, engine, limit_bytes = sys.argv[1:]
    faulthandler.enable(_STDERR, all_threads=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to act on
    leave_no_core()
    if int(limit_bytes):
        limit_memory(int(limit_bytes))
    child = Child(requests, replies, engine)
    threading.Thread(target=child.read, name="edgellm-requests", daemon=True).start()
    if sys.platform != "win32":
        threading.Thread(target=end_with_parent, name="edgellm-parent", daemon=True).start()
    end_after(child, service)


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes under numbers of their own, so that what anyone prints goes to stderr instead.

    The copies are not inherited: no process started here keeps them open.
    """
    pipes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(_STDERR, 1)
    if sys.platform == "win32":
        import msvcrt

        for pipe in pipes:
            msvcrt.setmode(pipe, os.O_BINARY)
    return os.fdopen(pipes[0], "rb"), os.fdopen(pipes[1], "wb", buffering=0)


def make_service(name: str) -> Service:
    """What the factory "module:function" returns."""
    module, _, function = name.partition(":")
    service: Service = getattr(import_module(module), function)()
    return service


def end_with_parent() -> None:
    """End when the parent has, even where another process keeps our stdin open."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_ORPHAN_CHECK_S)
    os._exit(PARENT_GONE)


def end_after(child: Child, service: str) -> None:
    """Serve, then exit without Python's own clean-up: threads still read and native code lives."""
    status = 1
    try:
        child.serve(lambda: make_service(service))
        status = 0
    except SystemExit as request:
        status = request.code if isinstance(request.code, int) else status
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
