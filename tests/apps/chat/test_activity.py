"""The line that says what is going on."""

import pytest
from rich.cells import cell_len

from edgellm.apps.chat.answering.answer import Answer
from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.keys import default_keys
from edgellm.apps.chat.widgets.activity import of_answer, of_load, of_work
from edgellm.apps.chat.widgets.figures import counted
from edgellm.errors import InputError
from edgellm.events import Event, PrefillProgress, ReasoningDelta, TextDelta
from edgellm.progress import Progress

READING = (PrefillProgress(100_000, 100_000, 900_000), PrefillProgress(100_000, 100_001, 900_000))
WIDTHS = range(24, 100)
KEYS = default_keys()


def test_reading_says_what_is_cached_read_and_left() -> None:
    now_s = [0.0]
    answer = Answer(lambda: now_s[0])
    assert of_answer(answer, 80, KEYS).plain.startswith("asking")
    answer.hear(PrefillProgress(1402, 1402, 3210))
    now_s[0] = 1.0
    answer.hear(PrefillProgress(1402, 1840, 3210))
    shown = of_answer(answer, 80, KEYS).plain
    assert "1,840/3,210 tokens" in shown
    assert "1,402 cached" in shown
    assert "3.1 s left" in shown


def test_thinking_and_writing_say_how_fast() -> None:
    now_s = [0.0]
    answer = Answer(lambda: now_s[0])
    for event in (ReasoningDelta("a"), ReasoningDelta("b")):
        now_s[0] += 0.5
        answer.hear(event)
    assert of_answer(answer, 80, KEYS).plain.startswith("thinking · 2 tokens · 4.0 tokens/s")
    answer.hear(TextDelta("c"))
    assert of_answer(answer, 80, KEYS).plain.startswith("writing · 3 tokens")


def test_a_load_says_where_it_is_and_why_there_is_none() -> None:
    engine = Engine({})
    engine.reference = "heron"
    assert of_load(engine, 80, KEYS).plain == "no model is loaded; Ctrl+L chooses one"
    engine.state = State.LOADING
    assert of_load(engine, 80, KEYS).plain == "loading heron …  Esc stops"
    engine.hearing.progress(Progress("quantize", 50, 200, unit="tokens"))
    assert "quantize ━━────── 25 % · 50 of 200 tokens" in of_load(engine, 80, KEYS).plain
    assert "50 of 200" not in of_load(engine, 40, KEYS).plain
    engine.fraction = 0.5
    assert of_load(engine, 80, KEYS).plain == "loading heron ━━━━━━────── 50 %  Esc stops"
    engine.state, engine.error = State.FAILED, InputError("no such file")
    assert of_load(engine, 80, KEYS).plain.startswith("no model: no such file · Ctrl+L chooses")


def test_work_says_how_long_it_goes_on() -> None:
    now_s = [0.0]
    hearing = Hearing(lambda: now_s[0])
    assert of_work("planning", hearing, 80).plain == "planning …"
    hearing.progress(Progress("disturb", 0, 100, unit="tokens"))
    now_s[0] = 2.0
    hearing.progress(Progress("disturb", 20, 100, unit="tokens"))
    assert "20 % · 8.0 s left · 20 of 100 tokens" in of_work("planning", hearing, 80).plain


@pytest.mark.parametrize("aside", ["", "summing up"])
@pytest.mark.parametrize(
    ("events", "whole"),
    [
        ((), "asking …"),
        (READING, "100,001/900,000 tokens ━─────────── 100,000 cached"),
        ((ReasoningDelta("a"),) * 1_234, "thinking · 1,234 tokens · "),
        ((TextDelta("a"),) * 1_234, "writing · 1,234 tokens · "),
    ],
    ids=["asking", "reading", "thinking", "writing"],
)
def test_an_answer_fits_in_any_width_and_says_how_to_stop_it(
    events: tuple[Event, ...], whole: str, aside: str
) -> None:
    now_s = [0.0]
    answer = Answer(lambda: now_s[0])
    for event in events:
        now_s[0] += 0.001
        answer.hear(event)
    lines = [of_answer(answer, cells, KEYS, aside).plain for cells in WIDTHS]
    assert all(cell_len(line) <= cells for line, cells in zip(lines, WIDTHS, strict=True))
    assert all(line.startswith(aside) and line.endswith("  Esc stops") for line in lines)
    assert whole in lines[-1]


@pytest.mark.parametrize("stage", ["found", "made", "read"])
def test_a_load_fits_in_any_width_and_says_how_to_stop_it(stage: str) -> None:
    now_s = [0.0]
    engine = Engine({})
    engine.reference, engine.state = "a-heron-of-a-very-long-name", State.LOADING
    engine.hearing = Hearing(lambda: now_s[0])
    if stage == "made":
        engine.hearing.progress(Progress("quantize", 0, 5 << 30))
        now_s[0] = 2.0
        engine.hearing.progress(Progress("quantize", 1 << 30, 5 << 30))
    elif stage == "read":
        engine.fraction = 1.0
    lines = [of_load(engine, cells, KEYS).plain for cells in WIDTHS]
    assert all(cell_len(line) <= cells for line, cells in zip(lines, WIDTHS, strict=True))
    assert all(line.endswith("  Esc stops") for line in lines)
    assert lines[0].startswith("━" if stage == "made" else "loading")
    assert lines[-1].startswith(f"loading {engine.reference}")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 tokens"), (1, "1 token"), (1_200, "1,200 tokens")]
)
def test_a_number_stands_with_what_it_counts(number: int, text: str) -> None:
    assert counted(number, "token") == text


def test_the_key_that_stops_is_the_one_that_was_chosen() -> None:
    shown = of_answer(Answer(lambda: 0.0), 80, {**KEYS, "stop": "ctrl+x"}).plain
    assert shown == "asking …  Ctrl+X stops"
