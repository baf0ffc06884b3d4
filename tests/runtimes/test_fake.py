"""The engine for other people's tests behaves as engines do."""

from pathlib import Path

import pytest

from edgellm.errors import RuntimeFailure, UnsupportedError
from edgellm.events import ContextFull, ContextTrimmed, Done, Event
from edgellm.runtimes.options import LoadOptions, SamplingOptions, ScoringOptions
from edgellm.runtimes.protocol import Request
from edgellm.testing import FakeModel, FakeRuntime, echo

NOWHERE = Path("no file")


def loaded(options: LoadOptions | None = None, **script: object) -> FakeModel:
    runtime = FakeRuntime(**script)  # type: ignore[arg-type]
    return runtime.load(NOWHERE, options or LoadOptions())


def answer(model: FakeModel, prompt: str, max_tokens: int | None = None) -> list[Event]:
    return list(model.generate(Request(prompt, SamplingOptions(max_tokens=max_tokens))))


def test_it_says_its_texts_in_turn_and_the_last_one_for_ever() -> None:
    model = loaded(answer=["one", "two"])
    ends = [answer(model, "x")[-1] for _ in range(3)]
    assert [end.text for end in ends if isinstance(end, Done)] == ["one", "two", "two"]


def test_without_a_script_it_repeats_what_was_said_last() -> None:
    assert echo("<system>Be brief<end><user>Hello there<end><assistant>") == "Hello there"


def test_an_answer_ends_at_its_limit_and_where_the_context_does() -> None:
    long = " ".join(["word"] * 50)
    limited = answer(loaded(answer=[long]), "x", max_tokens=3)[-1]
    assert isinstance(limited, Done)
    assert (limited.stop_reason, limited.text) == ("length", "word word word")
    *_, full, end = answer(loaded(LoadOptions(context=10), answer=[long]), "x")
    assert full == ContextFull(10, 10)
    assert isinstance(end, Done)
    assert (end.stop_reason, end.usage.generated_tokens) == ("context_full", 9)


def test_a_shorter_prompt_makes_room_for_the_rest() -> None:
    model = loaded(LoadOptions(context=10), answer=[" ".join(["word"] * 12)])
    shorter = iter(["d e f", None])
    request = Request("a b c d e f", SamplingOptions(), shorter=lambda: next(shorter))
    events = list(model.generate(request))
    (trimmed,) = [event for event in events if isinstance(event, ContextTrimmed)]
    assert (trimmed.dropped_tokens, trimmed.used) == (3, 7)
    assert isinstance(done := events[-1], Done)
    assert (done.stop_reason, done.usage.generated_tokens) == ("context_full", 7)


def test_what_it_cannot_do_it_refuses() -> None:
    with pytest.raises(UnsupportedError, match="predicts nothing"):
        FakeRuntime().open_scorer(NOWHERE, ScoringOptions(window=8, first=0))
    model = loaded()
    model.close()
    with pytest.raises(RuntimeFailure, match="closed"):
        answer(model, "x")
