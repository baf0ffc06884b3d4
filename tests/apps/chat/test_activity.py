"""The line that says what is going on."""

from edgellm.apps.chat.answering.answer import Answer
from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.widgets.activity import of_answer, of_load, of_work
from edgellm.errors import InputError
from edgellm.events import PrefillProgress, ReasoningDelta, TextDelta
from edgellm.progress import Progress


def test_reading_says_what_is_cached_read_and_left() -> None:
    now_s = [0.0]
    answer = Answer(lambda: now_s[0])
    assert of_answer(answer, 80).plain.startswith("asking")
    answer.hear(PrefillProgress(1402, 1402, 3210))
    now_s[0] = 1.0
    answer.hear(PrefillProgress(1402, 1840, 3210))
    shown = of_answer(answer, 80).plain
    assert "1,840/3,210 tokens" in shown
    assert "1,402 cached" in shown
    assert "3.1 s left" in shown


def test_thinking_and_writing_say_how_fast() -> None:
    now_s = [0.0]
    answer = Answer(lambda: now_s[0])
    for event in (ReasoningDelta("a"), ReasoningDelta("b")):
        now_s[0] += 0.5
        answer.hear(event)
    assert of_answer(answer, 80).plain.startswith("thinking · 2 tokens · 4.0 tokens/s")
    answer.hear(TextDelta("c"))
    assert of_answer(answer, 80).plain.startswith("writing · 3 tokens")


def test_a_load_says_where_it_is_and_why_there_is_none() -> None:
    engine = Engine({})
    engine.reference = "heron"
    assert of_load(engine, 80, "Ctrl+L").plain == "no model is loaded; Ctrl+L chooses one"
    engine.state = State.LOADING
    assert of_load(engine, 80).plain == "loading heron …  Esc stops"
    engine.hearing.progress(Progress("quantize", 50, 200, unit="tokens"))
    assert "quantize ━━────── 25 % · 50 of 200 tokens" in of_load(engine, 80).plain
    assert "50 of 200" not in of_load(engine, 40).plain
    engine.fraction = 0.5
    assert of_load(engine, 80).plain == "loading heron ━━━━━━────── 50 %  Esc stops"
    engine.state, engine.error = State.FAILED, InputError("no such file")
    assert of_load(engine, 80).plain.startswith("no model: no such file · /model chooses")


def test_work_says_how_long_it_goes_on() -> None:
    now_s = [0.0]
    hearing = Hearing(lambda: now_s[0])
    assert of_work("planning", hearing, 80).plain == "planning …"
    hearing.progress(Progress("disturb", 0, 100, unit="tokens"))
    now_s[0] = 2.0
    hearing.progress(Progress("disturb", 20, 100, unit="tokens"))
    assert "20 % · 8.0 s left · 20 of 100 tokens" in of_work("planning", hearing, 80).plain
