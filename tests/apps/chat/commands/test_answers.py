"""Asking, stopping, answering again, changing and taking back: with the keys a person uses."""

from pathlib import Path

from edgellm.errors import RuntimeFailure
from edgellm.testing import FakeRuntime
from tests.support.pilots import chatting, covers, run

ENDLESS = "word " * 100_000


def test_a_question_is_answered_and_both_are_kept(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["Hello **there**."])) as chat:
            await chat.send("Good morning")
            assert chat.texts == chat.said == ["Good morning", "Hello **there**."]
        async with chatting(tmp_path, resume=True) as again:
            assert again.said == ["Good morning", "Hello **there**."]
            assert again.chat.desk.title == "Good morning"

    run(script())


def test_ctrl_j_begins_a_line_and_quick_typing_loses_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["Yes."])) as chat:
            chat.chat.prompt.focus()
            await chat.pilot.press(*"one", "ctrl+j", *"two", "left", "backspace", "enter", *"next")
            await chat.settle()
            assert chat.said == ["one\nto", "Yes."]
            assert chat.chat.prompt.text == "next"

    run(script())


@covers("stop")
def test_esc_stops_an_answer_and_keeps_what_it_said(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=[ENDLESS], decode_s=0.002, context=200_000)
        async with chatting(tmp_path, runtime) as chat:
            await chat.type("Talk")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.talk.answer and chat.chat.talk.answer.tokens > 5)
            await chat.press("escape")
            await chat.settle()
            _, answer = chat.chat.desk.conversation.path()
            assert answer.ending == "cancelled"
            assert answer.content.startswith("word word word")
            assert chat.last.ending == "stopped by you"

    run(script())


@covers("stop")
def test_esc_stops_while_the_prompt_is_read_and_the_question_stays(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(prefill_s=60)) as chat:
            await chat.type("Read this")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.talk.answer and chat.chat.talk.answer.prefill)
            await chat.press("escape")
            await chat.settle()
            assert chat.said == ["Read this"]
            assert "stopped before the first word" in chat.texts[-1]

    run(script())


@covers("stop")
def test_esc_stops_a_load(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=1000), wait=False) as chat:
            await chat.until(lambda: chat.app.engine.fraction is not None)
            await chat.press("escape")
            await chat.until(lambda: chat.app.engine.was_stopped)

    run(script())


def test_a_question_sent_while_the_model_loads_is_answered_once_it_is_there(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=0.5), wait=False) as chat:
            await chat.send("Early")
            assert chat.said == ["Early", "Early"]

    run(script())


def test_a_second_question_waits_in_the_prompt_while_an_answer_is_written(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=[ENDLESS], decode_s=0.01, context=200_000)
        async with chatting(tmp_path, runtime) as chat:
            await chat.type("First")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.talk.is_busy)
            await chat.type("Second")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.prompt.text == "Second")
            assert chat.said[0] == "First"
            await chat.press("escape")

    run(script())


@covers("regenerate")
def test_f5_answers_again_as_another_branch(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["One.", "Two."])) as chat:
            await chat.send("Count")
            await chat.press("f5")
            await chat.settle()
            assert chat.said == ["Count", "Two."]
            assert (chat.last.heading.number, chat.last.heading.count) == (2, 2)

    run(script())


@covers("regenerate", "previous")
def test_r_answers_the_selected_turn_again(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["1", "2", "3"])) as chat:
            await chat.send("a")
            await chat.send("b")
            await chat.press("alt+up", "alt+up", "alt+up", "r")
            await chat.settle()
            assert chat.said == ["a", "3"]

    run(script())


@covers("edit")
def test_a_changed_question_is_asked_again_beside_the_first(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("What is a hern?")
            await chat.press("f4")
            await chat.until(lambda: chat.chat.prompt.text == "What is a hern?")
            await chat.press("left", "left", "left", "o", "end", "enter")
            await chat.settle()
            assert chat.said == ["What is a heorn?"] * 2
            first = chat.chat.desk.conversation.children(None)
            assert len(first) == 2

    run(script())


@covers("edit")
def test_esc_leaves_an_edit_as_it_was(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("Keep me")
            await chat.press("f4", "x", "escape")
            await chat.settle()
            assert chat.chat.editing is None
            assert chat.chat.prompt.text == ""
            assert chat.said == ["Keep me", "Keep me"]

    run(script())


@covers("edit")
def test_a_changed_answer_is_kept_beside_the_model_s(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["Wrong."])) as chat:
            await chat.send("Say")
            await chat.press("alt+up", "e")
            await chat.until(lambda: chat.chat.prompt.text == "Wrong.")
            await chat.press("ctrl+u", *"Right.", "enter")
            await chat.settle()
            assert chat.said == ["Say", "Right."]
            assert chat.last.heading.details == "changed by you"
            assert chat.last.heading.count == 2

    run(script())


@covers("undo", "redo")
def test_what_is_taken_back_can_be_brought_back(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["1", "2"])) as chat:
            await chat.send("a")
            await chat.send("b")
            await chat.press("alt+z")
            await chat.settle()
            assert chat.said == ["a", "1"]
            assert chat.chat.prompt.text == "b"
            assert "taken back" in chat.texts[-1]
            await chat.press("alt+y")
            await chat.settle()
            assert chat.said == ["a", "1", "b", "2"]
            assert chat.chat.prompt.text == ""

    run(script())


def test_an_engine_that_dies_keeps_its_words_and_is_loaded_again(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=["One two."], answer_error=RuntimeFailure("fake", "it died"))
        async with chatting(tmp_path, runtime) as chat:
            await chat.send("Speak")
            assert chat.said == ["Speak", "One"]
            assert chat.last.ending == "the engine failed here"
            assert "it died" in chat.texts[-1]
            loads = chat.app.engine.model
            await chat.send("Again")
            assert chat.app.engine._model is not loads

    run(script())
