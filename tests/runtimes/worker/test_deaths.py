"""A worker that crashes, is killed or misbehaves: an error, and nothing left behind."""

import os
import signal
import sys
import time

import psutil
import pytest

from edgellm.errors import EdgeLLMError, RuntimeFailure
from edgellm.runtimes.worker.connection import WorkerConnection
from edgellm.runtimes.worker.frames import Kind, pack
from tests.support.calls import Answer, worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends processes by signals")

ENDINGS = {
    "abort": (b"", r"signal 6 \(aborted\); ggml.c:42: GGML_ASSERT\(n > 0\) failed$"),
    "segfault": (b"", r"signal 11 \(segmentation fault\); File .*ctypes.*string_at$"),
    "kill": (b"", r"signal 9 \(killed\); perhaps the system is out of memory$"),
    "exit": (b"7", r"status 7$"),
    "flood": (b"", r"status 3; .*x; \[31mlast words$"),
    "rubbish": (b"\xff" * 9, r"sent a message of unknown kind 255$"),
}


@pytest.mark.parametrize("method", ENDINGS)
def test_a_death_is_one_line_that_names_its_cause(method: str) -> None:
    body, expected = ENDINGS[method]
    with worker() as connection:
        failure = Answer(connection, method, body).outcome()
    assert isinstance(failure, RuntimeFailure)
    assert failure.engine == "toy"
    assert str(failure).isprintable()
    assert len(str(failure)) < 600
    with pytest.raises(RuntimeFailure, match=f"^toy: its process .*{expected}"):
        raise failure


@pytest.mark.parametrize(
    "frame",
    [
        pack(Kind.ITEM, 99, b"x"),
        pack(Kind.CALL, 1, b"echo\0"),
        pack(Kind.ERROR, 1, b"[" * 100_000),
        pack(Kind.ERROR, 1, b'{"kind": "SystemExit", "text": "", "attributes": {}}'),
        pack(Kind.ERROR, 1, b'{"kind": "BudgetError", "text": "", "attributes": {"parts": 1}}'),
        b"\xff\xff\xff\xff" + pack(Kind.ITEM, 1)[4:],
    ],
    ids=["no such call", "a call", "deep JSON", "foreign class", "wrong attributes", "huge"],
)
def test_a_worker_that_breaks_the_rules_is_ended(frame: bytes) -> None:
    with worker() as connection:
        failure = Answer(connection, "rubbish", frame).outcome()
        assert isinstance(failure, RuntimeFailure)
        assert "its process sent " in str(failure)
        assert not psutil.pid_exists(connection.pid)


def test_every_call_ends_and_later_ones_fail_at_once() -> None:
    with worker() as connection:
        running = Answer(connection, "native_sleep", b"60")
        waiting = Answer(connection, "echo", b"1")
        running.wait_for_item()
        os.kill(connection.pid, signal.SIGKILL)
        texts = [str(answer.outcome()) for answer in (running, waiting)]
        later = Answer(connection, "echo", b"2")
        assert later.ends == 1
        assert [*texts, str(later.outcome())] == [texts[0]] * 3
    assert (running.ends, waiting.ends) == (1, 1)


def test_a_killed_worker_is_no_zombie_and_leaves_no_file_or_thread(own_resources: None) -> None:
    with worker() as connection:
        answer = Answer(connection, "native_sleep", b"60")
        answer.wait_for_item()
        os.kill(connection.pid, signal.SIGKILL)
        assert isinstance(answer.outcome(), EdgeLLMError)


def test_what_came_before_the_death_is_kept() -> None:
    with worker() as connection:
        answer = Answer(connection, "kill")
        answer.outcome()
    assert answer.items == [b"half"]


def test_ten_kills_at_any_moment_are_survived(own_resources: None) -> None:
    for number in range(10):
        with worker() as connection:
            answer = Answer(connection, "count", b"100000")
            time.sleep(number * 0.02)  # starting, importing, counting
            os.kill(connection.pid, signal.SIGKILL)
            outcome = answer.outcome()
            assert outcome == b"done" or isinstance(outcome, RuntimeFailure)
    with worker() as connection:
        assert Answer(connection, "echo", b"1").result() == b"1"


def test_a_program_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RuntimeFailure, match=r"^toy: cannot start /nowhere/python: "):
        WorkerConnection.spawn("a:b", memory_limit_bytes=None, engine="toy")
