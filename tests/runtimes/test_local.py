"""Calls on a thread of this process end as a worker's do."""

import gc
import threading
from collections.abc import Callable
from time import sleep

import pytest

from edgellm.errors import Cancelled, RuntimeFailure
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.local import LocalConnection
from tests.support.calls import LIMIT_S, Answer
from tests.support.services import Oddities


class Toy(Oddities):
    """Says that it was closed, and on which thread."""

    def __init__(self) -> None:
        self.closed_on: list[str] = []

    def close(self) -> None:
        self.closed_on.append(threading.current_thread().name)

    def defect(self, body: bytes, emit: Callable[[bytes], None], cancel: CancelToken) -> bytes:
        raise ZeroDivisionError("by\nnobody")


@pytest.fixture
def toy() -> Toy:
    return Toy()


def test_items_come_before_the_result(toy: Toy) -> None:
    with LocalConnection(lambda: toy, "toy") as connection:
        answer = Answer(connection, "echo", b"abc")
        assert answer.result() == b"abc"
        assert answer.items == [b"a", b"b", b"c"]
        assert answer.ends == 1


def test_a_call_that_runs_is_cancelled_and_the_next_one_runs(toy: Toy) -> None:
    with LocalConnection(lambda: toy, "toy") as connection:
        first, second = Answer(connection, "until_cancelled"), Answer(connection, "echo", b"x")
        first.wait_for_item()
        first.cancel()
        assert isinstance(first.outcome(), Cancelled)
        assert second.result() == b"x"


def test_a_call_that_waits_is_cancelled_before_it_begins(toy: Toy) -> None:
    with LocalConnection(lambda: toy, "toy") as connection:
        first, second = Answer(connection, "until_cancelled"), Answer(connection, "echo", b"x")
        second.cancel()
        first.cancel()
        assert isinstance(second.outcome(), Cancelled)
        assert second.items == []


def test_a_defect_ends_its_call_only(toy: Toy) -> None:
    with LocalConnection(lambda: toy, "toy") as connection:
        with pytest.raises(RuntimeFailure, match="toy: a defect, ZeroDivisionError: by nobody"):
            Answer(connection, "defect").result()
        assert Answer(connection, "echo", b"x").result() == b"x"


def test_closing_cancels_what_runs_and_frees_the_service_on_its_own_thread(toy: Toy) -> None:
    connection = LocalConnection(lambda: toy, "toy")
    running, waiting = Answer(connection, "until_cancelled"), Answer(connection, "echo")
    running.wait_for_item()
    connection.close()
    connection.close()
    assert isinstance(running.outcome(), Cancelled)
    assert isinstance(waiting.outcome(), Cancelled)
    assert toy.closed_on == ["edgellm toy"]
    with pytest.raises(RuntimeFailure, match="toy: is closed"):
        Answer(connection, "echo").result()


def test_a_connection_that_is_forgotten_closes(toy: Toy) -> None:
    connection = LocalConnection(lambda: toy, "toy")
    assert Answer(connection, "echo", b"x").result() == b"x"
    del connection
    gc.collect()
    assert toy.closed_on == ["edgellm toy"]


def test_a_callback_may_close_the_connection(toy: Toy) -> None:
    connection = LocalConnection(lambda: toy, "toy")
    connection.start("echo", b"", lambda item: None, lambda outcome: connection.close())
    for _ in range(int(LIMIT_S / 0.01)):
        if toy.closed_on:
            break
        sleep(0.01)
    assert toy.closed_on == ["edgellm toy"]


def test_a_fork_of_the_caller_is_refused(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalConnection(lambda: toy, "toy") as connection:
        with monkeypatch.context() as forked:
            forked.setattr("os.getpid", lambda: -1)
            with pytest.raises(RuntimeFailure, match="before this process was forked"):
                Answer(connection, "echo", b"hi").result()
        assert Answer(connection, "echo", b"hi").result() == b"hi"
