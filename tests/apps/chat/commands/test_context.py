"""A full context: always said, and what one may do about it."""

from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Static

from edgellm.apps.chat.dialogs.picker import Picker
from edgellm.testing import FakeRuntime
from tests.support.gguf import TinyLlama
from tests.support.pilots import Driver, chatting, covers, run

SMALL = 40  # tokens of the context
RULE = "no longer sent"


async def fill(chat: Driver) -> None:
    """Talk until the context is full and the chat asks what to do."""
    for number in range(20):
        await chat.send(f"word {number} and more words of it")
        if chat.dialog is not None:
            break
    assert isinstance(chat.dialog, Picker)


async def choose(chat: Driver, row: int) -> None:
    await chat.press(*["down"] * (row + 1), "enter")  # none is chosen at first
    await chat.settle()


@covers("trim")
def test_a_full_context_is_said_and_nothing_is_left_out_before_one_chooses(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=SMALL)) as chat:
            await fill(chat)
            turns = len(chat.said)
            assert not chat.chat.desk.conversation.cuts
            await chat.press("escape")
            await chat.settle()
            assert len(chat.said) == turns
            assert not chat.chat.desk.conversation.cuts
            await chat.send("/trim")
            assert [text for text in chat.texts if RULE in text]
            assert chat.chat.showing.used_tokens
            assert chat.chat.showing.used_tokens < SMALL

    run(script())


@covers("trim", "untrim")
def test_trimming_answers_the_question_and_can_be_taken_back(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=SMALL)) as chat:
            await fill(chat)
            await choose(chat, 0)
            assert chat.chat.desk.conversation.path()[-1].role == "assistant"
            assert len(chat.chat.desk.conversation.cuts) == 1
            await chat.send("/untrim")
            assert not chat.chat.desk.conversation.cuts
            await chat.send("/untrim")
            assert "nothing was left out" in chat.told

    run(script())


def test_trimming_each_time_is_a_setting_and_each_time_it_is_seen(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=SMALL)) as chat:
            await fill(chat)
            await choose(chat, 1)
            assert chat.chat.desk.settings.when_full == "trim"
            before = len(chat.chat.desk.conversation.cuts)
            for number in range(6):
                await chat.send(f"more words {number} than it can hold of them")
                assert chat.dialog is None
            assert len(chat.chat.desk.conversation.cuts) > before
            assert len(chat.said) > 12  # they are all still there to be read
        async with chatting(tmp_path, FakeRuntime(context=SMALL), resume=True) as chat:
            assert [text for text in chat.texts if RULE in text]

    run(script())


@covers("summarize")
def test_a_summary_by_the_model_stands_for_the_older_half(tmp_path: Path) -> None:
    def answer(prompt: str) -> str:
        return "Short: birds." if "Sum up" in prompt else "Yes, quite a few words."

    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=answer, context=200)) as chat:
            for number in range(4):
                await chat.send(f"question {number}")
            await chat.send("/summarize")
            (cut,) = chat.chat.desk.conversation.cuts.values()
            assert cut.summary == "Short: birds."
            assert "Short: birds." in chat.texts
            assert chat.chat.desk.messages[0].content.endswith("Short: birds.")
            await chat.send("and then?")
            assert chat.said[-1] == "Yes, quite a few words."

    run(script())


@covers("context")
def test_a_larger_context_is_loaded_and_the_same_question_answered(tmp_path: Path) -> None:
    class Roomy(FakeRuntime):
        """Has as large a context as it is asked for."""

    async def script() -> None:
        runtime = Roomy(context=4096)
        load = {"runtime": runtime, "isolation": "none", "context": SMALL}
        async with chatting(tmp_path, load=load) as chat:
            await fill(chat)
            await choose(chat, 3)
            await chat.until(lambda: chat.dialog)
            await chat.press("enter")  # twice as large, as proposed
            await chat.settle()
            assert chat.app.engine.model.info.context == 2 * SMALL
            assert chat.chat.desk.conversation.path()[-1].role == "assistant"
            await chat.send("/context 300")
            assert chat.app.engine.model.info.context == 300

    run(script())


def test_a_new_conversation_leaves_the_full_one_as_it_is(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=SMALL)) as chat:
            await fill(chat)
            turns = len(chat.said)
            await choose(chat, 4)
            assert chat.said == []
            await chat.send("/open 1")
            assert len(chat.said) == turns

    run(script())


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("/trim", "nothing to leave out"),
        ("/summarize", "nothing to leave out"),
        ("/context many", "expected a number of tokens"),
        ("/context 0", "expected a number of tokens"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, command: str, problem: str) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send(command)
            assert problem in chat.told

    run(script())


def test_a_stray_enter_takes_nothing_while_the_context_is_full(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=SMALL)) as chat:
            await fill(chat)
            turns, asked = len(chat.said), chat.dialog
            await chat.press("enter")
            assert chat.dialog is asked
            await chat.press("escape")
            await chat.settle()
            assert len(chat.said) == turns
            assert not chat.chat.desk.conversation.cuts

    run(script())


def rows(chat: Driver) -> list[str]:
    """Of the dialog in front."""
    assert chat.dialog is not None
    return [str(one.prompt) for one in chat.dialog.query_one(OptionList).options]


def note(chat: Driver) -> str:
    assert chat.dialog is not None
    return str(chat.dialog.query_one(".note", Static).content)


def test_one_question_that_is_too_long_comes_back_to_be_shortened(tmp_path: Path) -> None:
    long = "word " * 60

    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(context=SMALL)) as chat:
            await chat.send(long)
            assert not [row for row in rows(chat) if row.startswith(("Trim", "Summarize"))]
            assert "nothing older than the last question could be" in note(chat)
            await choose(chat, 0)
            assert chat.chat.prompt.text == long
            chat.chat.prompt.fill("short")
            await chat.press("enter")
            await chat.settle()
            assert chat.said == ["short", "short"]

    run(script())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (0, "There is room now; /regenerate answers the last question again."),
        (1, "From now on the oldest turns are left out where they do not fit."),
    ],
)
def test_where_an_answer_filled_the_context_it_is_said_what_comes_of_it(
    tmp_path: Path, row: int, said: str
) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=["ok", "word " * SMALL], context=SMALL)
        async with chatting(tmp_path, runtime) as chat:
            await chat.send("a")
            await chat.send("b")
            assert rows(chat)[0].startswith("Trim")
            await choose(chat, row)
            assert chat.told == said
            assert chat.last.ending == "ended because the context was full"
            assert bool(chat.chat.desk.conversation.cuts) == (row == 0)

    run(script())


@pytest.mark.parametrize(
    ("made_for", "proposed"), [(4096, "2048"), (1800, "1800")], ids=["enough", "at most"]
)
def test_a_context_is_proposed_that_holds_the_question_if_the_model_can(
    tmp_path: Path, made_for: int, proposed: str
) -> None:
    path = TinyLlama(context=made_for).write(tmp_path / "tiny.gguf")

    async def script() -> None:
        load = {"runtime": FakeRuntime(context=4096), "isolation": "none", "context": 512}
        async with chatting(tmp_path / "chats", load=load, model=str(path)) as chat:
            await chat.send("word " * 1500)
            await choose(chat, 1)
            assert chat.dialog is not None
            assert chat.dialog.query_one(Input).value == proposed
            assert "the conversation takes 1,5" in note(chat)
            assert f"made for {made_for:,} at most" in note(chat)
            await chat.press("enter")
            await chat.settle()
            assert chat.chat.desk.conversation.path()[-1].role == "assistant"

    run(script())


@pytest.mark.parametrize("command", ["/context 64", "/trim", "/summarize"])
def test_without_a_model_these_say_whether_one_is_on_its_way(tmp_path: Path, command: str) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=1000), wait=False) as chat:
            await chat.until(lambda: chat.app.engine.fraction is not None)
            await chat.type(command)
            await chat.press("enter")
            await chat.until(lambda: "the model is still loading; Esc stops that" in chat.told)
            await chat.press("escape")
            await chat.until(lambda: chat.app.engine.error)
            await chat.send(command)
            assert "no model is loaded; /model chooses one" in chat.told

    run(script())
