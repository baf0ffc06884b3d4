"""Calls to a worker process: results, items, errors, order, cancelling."""

import json
import sys

import pytest

from edgellm.errors import BudgetError, Cancelled, InputError, RuntimeFailure
from edgellm.runtimes.connection import Connection
from edgellm.runtimes.worker.frames import MAX_BODY_BYTES
from tests.support.calls import Answer, worker


def test_a_worker_connection_fulfils_the_protocol() -> None:
    with worker() as spawned:
        connection: Connection = spawned  # the type checker proves it
        assert Answer(connection, "echo", b"hi").result() == b"hi"


def test_items_come_before_the_result_and_in_order() -> None:
    with worker() as connection:
        answer = Answer(connection, "count", b"2000")
        assert answer.result() == b"done"
    assert answer.items == [b"%d" % number for number in range(2000)]
    assert answer.ends == 1


def test_bytes_cross_unchanged() -> None:
    body = bytes(range(256)) * 4096
    with worker() as connection:
        assert Answer(connection, "echo", body).result() == body


def test_calls_wait_in_line() -> None:
    with worker() as connection:
        first = Answer(connection, "until_cancelled")
        second = Answer(connection, "echo", b"2")
        assert first.wait_for_item() == b"began"
        assert second.ends == 0
        first.cancel()
        assert second.result() == b"2"
        assert isinstance(first.outcome(), Cancelled)


def test_a_call_that_is_cancelled_in_line_ends_at_once_and_alone() -> None:
    with worker() as connection:
        running = Answer(connection, "until_cancelled")
        queued = Answer(connection, "echo", b"never")
        running.wait_for_item()
        queued.cancel()
        with pytest.raises(Cancelled, match="before it began"):
            queued.result()
        assert running.ends == 0
        running.cancel()
        with pytest.raises(Cancelled, match="as asked"):
            running.result()
    assert queued.items == []


def test_cancelling_what_has_ended_changes_nothing() -> None:
    with worker() as connection:
        answer = Answer(connection, "echo", b"1")
        answer.result()
        answer.cancel()
        assert Answer(connection, "echo", b"2").result() == b"2"


def test_an_error_crosses_with_its_class_and_its_figures() -> None:
    with worker() as connection, pytest.raises(BudgetError, match=r"^needs more$") as caught:
        Answer(connection, "too_big").result()
    assert caught.value.parts == {"weights": 2**40, "kv_cache": 7}
    assert (caught.value.needed_bytes, caught.value.budget_bytes) == (9, 5)


def test_a_defect_of_the_service_is_named_and_the_worker_lives() -> None:
    with worker() as connection:
        with pytest.raises(RuntimeFailure, match=r"^toy: a defect, KeyError: 'gone'$"):
            Answer(connection, "defect", b"gone").result()
        assert Answer(connection, "echo", b"1").result() == b"1"


def test_a_service_that_cannot_be_made_says_so_at_every_call() -> None:
    with worker("unusable") as connection:
        for _ in range(2):
            with pytest.raises(BudgetError, match="nothing fits"):
                Answer(connection, "echo").result()


def test_a_service_that_does_not_exist_is_named() -> None:
    with worker("Nothing") as connection, pytest.raises(RuntimeFailure, match="AttributeError"):
        Answer(connection, "echo").result()


def test_what_the_service_prints_stays_out_of_the_messages() -> None:
    with worker() as connection:
        assert Answer(connection, "prints").result() == b"clean"
        assert Answer(connection, "reads").result() == b""
        assert Answer(connection, "echo", b"1").result() == b"1"


def test_a_call_that_is_too_large_is_refused_and_the_worker_lives() -> None:
    with worker() as connection:
        with pytest.raises(InputError, match="echo: a message of 67108870 bytes; at most 67108864"):
            Answer(connection, "echo", bytes(MAX_BODY_BYTES + 1)).result()
        assert Answer(connection, "echo", b"1").result() == b"1"


def test_a_result_that_is_too_large_is_refused_and_the_worker_lives() -> None:
    with worker() as connection:
        with pytest.raises(RuntimeFailure, match="a message of 67108865 bytes"):
            Answer(connection, "result_of", b"%d" % (MAX_BODY_BYTES + 1)).result()
        assert Answer(connection, "echo", b"1").result() == b"1"


def test_a_worker_finds_what_its_parent_finds_and_imports_nothing_heavy() -> None:
    with worker() as connection:
        facts = json.loads(Answer(connection, "facts").result())
    assert facts["modules"] == []
    assert set(filter(None, sys.path)) <= set(facts["path"])


def test_a_fork_of_the_caller_is_refused_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker() as connection:
        with monkeypatch.context() as forked:
            forked.setattr("os.getpid", lambda: -1)
            with pytest.raises(RuntimeFailure, match="before this process was forked"):
                Answer(connection, "echo", b"hi").result()
            connection.close()
        assert Answer(connection, "echo", b"hi").result() == b"hi"
