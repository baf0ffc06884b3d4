"""How a worker ends: closed, forgotten, or left by a parent that died."""

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgellm.errors import Cancelled, RuntimeFailure
from edgellm.runtimes.worker import connection as connection_module
from edgellm.runtimes.worker.connection import WorkerConnection
from tests.support.calls import Answer, worker
from tests.support.services import MODULE

ROOT = Path(__file__).parents[3]


def test_closing_frees_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FREED", str(tmp_path / "freed"))
    with worker("Leaving") as connection:
        Answer(connection, "echo").result()
    assert (tmp_path / "freed").exists()
    assert not psutil.pid_exists(connection.pid)


def test_closing_cancels_what_runs_and_what_waits(own_resources: None) -> None:
    with worker() as connection:
        running = Answer(connection, "until_cancelled")
        waiting = Answer(connection, "echo")
        running.wait_for_item()
    assert isinstance(running.outcome(), Cancelled)
    assert isinstance(waiting.outcome(), Cancelled)


def test_closing_twice_is_no_error_and_calls_afterwards_are_refused(own_resources: None) -> None:
    with worker() as connection:
        connection.close()
        with pytest.raises(RuntimeFailure, match=r"^toy: is closed$"):
            Answer(connection, "echo").result()


def test_ten_workers_after_each_other_leave_nothing(own_resources: None) -> None:
    for _ in range(10):
        with worker() as connection:
            assert Answer(connection, "echo", b"1").result() == b"1"


def test_many_threads_may_close(own_resources: None) -> None:
    with worker() as connection:
        threads = [threading.Thread(target=connection.close) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("factory", ["Stubborn", "deaf"])
def test_a_worker_that_does_not_end_by_itself_is_killed(
    factory: str, monkeypatch: pytest.MonkeyPatch, own_resources: None
) -> None:
    monkeypatch.setattr(connection_module, "_CLOSE_S", 0.2)
    with worker(factory) as connection:
        answer = Answer(connection, "native_sleep", b"60")
        answer.wait_for_item()
    assert not psutil.pid_exists(connection.pid)
    assert isinstance(answer.outcome(), Cancelled)


def test_an_end_of_a_call_may_close_the_connection(own_resources: None) -> None:
    with worker() as connection:
        ended = threading.Event()

        def close(outcome: object) -> None:
            connection.close()
            ended.set()

        connection.start("echo", b"1", lambda item: None, close)
        assert ended.wait(20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_caller_whose_function_raises_gets_its_end_and_no_hang(own_resources: None) -> None:
    def broken(item: bytes) -> None:
        raise ZeroDivisionError

    with worker() as connection:
        ends = queue.SimpleQueue[object]()
        connection.start("echo", b"1", broken, ends.put)
        assert "a caller's function raised" in str(ends.get(timeout=20))


def test_a_connection_that_is_garbage_leaves_nothing(own_resources: None) -> None:
    connection = WorkerConnection.spawn(f"{MODULE}:Oddities", memory_limit_bytes=None, engine="toy")
    Answer(connection, "native_sleep", b"60").wait_for_item()
    process = psutil.Process(connection.pid)
    del connection
    gc.collect()
    wait_until(lambda: ended(process))
    wait_until(lambda: not any(t.name.startswith("edgellm-") for t in threading.enumerate()))


PROGRAM = f"""
import os, queue, sys, time
from edgellm.runtimes.worker.connection import WorkerConnection
connection = WorkerConnection.spawn("{MODULE}:Oddities", memory_limit_bytes=None, engine="toy")
began = queue.SimpleQueue()
connection.start("native_sleep", b"60", began.put, print)
began.get()
print(connection.pid, flush=True)
"""
FORK = """
sibling = os.fork()
if not sibling:
    time.sleep(60)
print(sibling, flush=True)
"""
WAIT = "sys.stdin.readline()\n"


def start_program(more: str = "") -> tuple[subprocess.Popen[str], psutil.Process]:
    """A program without a `__main__` guard, and its worker, busy in native code."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + more + WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout
    return parent, psutil.Process(int(parent.stdout.readline()))


def test_an_interpreter_that_exits_takes_its_worker_along() -> None:
    parent, process = start_program()
    parent.communicate("\n", timeout=20)
    assert parent.returncode == 0
    wait_until(lambda: ended(process))


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_parent_that_is_killed_takes_its_worker_along() -> None:
    parent, process = start_program()
    parent.kill()
    parent.communicate(timeout=20)
    wait_until(lambda: ended(process))


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_killed_parent_takes_its_worker_along_although_a_fork_keeps_the_pipe() -> None:
    parent, process = start_program(FORK)
    assert parent.stdout
    sibling = int(parent.stdout.readline())
    parent.kill()
    try:
        wait_until(lambda: ended(process))
    finally:
        os.kill(sibling, signal.SIGKILL)
        parent.communicate(timeout=20)


def ended(process: psutil.Process) -> bool:
    """Whether it has; whose parent is gone may stay a zombie until the system looks."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
