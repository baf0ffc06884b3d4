"""Streams: the order of events, and every way in which an answer ends early."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from time import sleep

import pytest

from edgellm.errors import InputError, RuntimeFailure, UsageError
from edgellm.events import Done, Event, MemorySample, PrefillProgress, TextDelta
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.messages import Tool
from tests.support.models import fake_model

WEATHER = Tool("weather", "", "{}")
ENDLESS = ["word " * 100_000]


@pytest.fixture
def slow() -> Iterator[Model]:
    """Answers a word each hundredth of a second, for a quarter of an hour."""
    with fake_model(answer=ENDLESS, decode_s=0.01, context=200_000) as model:
        yield model


def test_prefill_comes_first_then_text_then_memory_and_the_end() -> None:
    with fake_model(answer=["one two three"]) as model:
        kinds = [type(event) for event in model.generate("Count to three.")]
    assert kinds == [PrefillProgress] * 2 + [TextDelta] * 3 + [MemorySample, Done]


def test_the_result_is_there_without_iterating_and_afterwards_the_events_still_are() -> None:
    with fake_model(answer=["one two"]) as model:
        stream = model.generate("Count.")
        done = stream.result()
        assert done.text == stream.text == "one two"
        assert list(stream)[-1] is done
        assert list(stream) == []


def test_leaving_the_block_stops_the_answer_and_keeps_its_words(slow: Model) -> None:
    with slow.generate("Talk.") as stream:
        for event in stream:
            if isinstance(event, TextDelta):
                break
    done = stream.result()
    assert done.stop_reason == "cancelled"
    assert done.text.startswith("word")
    assert stream.text == done.text


def test_an_answer_is_cancelled_from_another_thread(slow: Model) -> None:
    stream = slow.generate("Talk.")
    threading.Timer(0.1, stream.cancel).start()
    events = list(stream)
    assert isinstance(done := events[-1], Done)
    assert done.stop_reason == "cancelled"


def test_reading_a_prompt_is_cancelled_from_another_thread() -> None:
    with fake_model(prefill_s=0.01, context=200_000) as model:
        stream = model.generate("word " * 100_000)
        threading.Timer(0.1, stream.cancel).start()
        events = list(stream)
    assert isinstance(done := events[-1], Done)
    assert (done.stop_reason, done.text) == ("cancelled", "")


def test_an_answer_that_waits_is_cancelled_before_it_begins(slow: Model) -> None:
    first, second = slow.generate("Talk."), slow.generate("And again.")
    second.cancel()
    first.cancel()
    assert second.result().usage.generated_tokens == 0
    assert [type(event) for event in second] == [Done]


def test_an_answer_that_is_forgotten_stops(slow: Model) -> None:
    stream = slow.generate("Talk.")
    call = stream._call
    del stream
    gc.collect()
    assert call.result().stop_reason == "cancelled"


def test_closing_the_model_ends_its_answers(slow: Model) -> None:
    stream = slow.generate("Talk.")
    sleep(0.05)
    slow.close()
    assert stream.result().stop_reason == "cancelled"
    with pytest.raises(RuntimeFailure, match="is closed"):
        slow.generate("Talk.").result()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_of_the_wait_cancels_the_answer(slow: Model) -> None:
    stream = slow.generate("Talk.")

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.1, interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        stream.result()
    assert stream.result().stop_reason == "cancelled"


def test_an_answer_that_fails_raises_after_its_events_and_again() -> None:
    with fake_model(answer_error=RuntimeFailure("fake", "no more")) as model:
        stream = model.generate("one two")
        seen: list[Event] = []
        with pytest.raises(RuntimeFailure, match="no more"):
            seen.extend(stream)
        with pytest.raises(RuntimeFailure, match="no more"):
            next(stream)
        assert stream.text == "one"


def test_calls_on_one_model_take_turns() -> None:
    with fake_model(decode_s=0.005) as model:
        streams = [model.generate(f"{n} words here") for n in range(4)]
        assert model.count_tokens("one two three") == 3
        assert [stream.result().text[0] for stream in reversed(streams)] == list("3210")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"temprature": 1}, "no option 'temprature'"),
        ({"temperature": -1}, "temperature is -1"),
        ({"json_schema": "{}", "grammar": "root ::= [a]"}, "exclude each other"),
        ({"json_schema": "{}", "tools": [WEATHER]}, "json_schema and tools exclude each other"),
        ({"thinking": True}, "thinking is for conversations"),
        ({"logprobs": -1}, "logprobs is -1"),
    ],
)
def test_an_option_that_means_nothing_is_refused_at_once(
    options: dict[str, object], problem: str
) -> None:
    with fake_model() as model, pytest.raises(UsageError, match=problem):
        model.generate("Hello", **options)  # type: ignore[arg-type]


def test_text_that_is_no_unicode_is_refused() -> None:
    with fake_model() as model, pytest.raises(InputError, match="not valid Unicode"):
        model.generate("\ud83c")
