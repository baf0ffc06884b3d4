"""Questions while a model loads, and engines that end by themselves: nothing is asked twice."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from edgellm.errors import RuntimeFailure
from edgellm.testing import FakeModel, FakeRuntime
from tests.support.pilots import Driver, chatting, run

WAITS = "a question waits for the model already; Esc stops its load"
AGAIN = "the engine had ended by itself; it was loaded again"
_PATIENCE_S = 20


@dataclass(frozen=True)
class Loads(FakeRuntime):
    """Each load goes as the next word says, the last one for ever.

    well; held: once the gate is open; broken: not at all; dead: gone before anything is asked.
    """

    words: Iterator[str] = field(default_factory=lambda: iter(()))
    gate: Event = field(default_factory=Event)

    def load(self, *others: Any, **named: Any) -> FakeModel:
        word = next(self.words, "well")
        if word == "held":
            assert self.gate.wait(_PATIENCE_S)
        if word == "broken":
            raise RuntimeFailure("fake", "it does not start")
        model = super().load(*others, **named)
        if word == "dead":
            model.close()
        return model


def loads(*words: str, **script: Any) -> Loads:
    return Loads(words=iter(words), **script)


async def ask(chat: Driver, text: str) -> None:
    """Send a question that waits for the model."""
    await chat.until(lambda: chat.app.engine.fraction is not None)
    await chat.type(text)
    await chat.press("enter")
    await chat.until(lambda: chat.said == [text])


def notes(chat: Driver, words: str) -> int:
    """How many lines of the transcript have these words."""
    return sum(words in text for text in chat.texts)


def test_a_second_question_waits_in_the_prompt_while_the_first_waits_for_the_model(
    tmp_path: Path,
) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=1000), wait=False) as chat:
            await ask(chat, "First")
            await chat.type("Second")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.prompt.text == "Second")
            assert WAITS in chat.told
            assert chat.said == ["First"]
            await chat.press("escape")
            await chat.settle()
            assert chat.app.engine.was_stopped
            assert notes(chat, "not answered yet") == 1
            assert (chat.said, chat.chat.prompt.text) == (["First"], "Second")

    run(script())


@pytest.mark.parametrize("key", ["f5", "f4"])
def test_nothing_else_is_asked_or_edited_while_a_question_waits(tmp_path: Path, key: str) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=1000), wait=False) as chat:
            await ask(chat, "First")
            await chat.press(key)
            await chat.until(lambda: WAITS in chat.told)
            assert chat.chat.editing is None
            assert chat.chat.prompt.text == ""
            await chat.press("escape")
            await chat.settle()
            assert notes(chat, "not answered yet") == 1

    run(script())


@pytest.mark.parametrize("key", ["ctrl+n", "alt+z"])
@pytest.mark.parametrize("words", [("held",), ("dead", "held")], ids=["at first", "again"])
def test_a_question_that_was_left_before_there_was_a_model_is_not_answered_elsewhere(
    tmp_path: Path, words: tuple[str, ...], key: str
) -> None:
    async def script() -> None:
        runtime = loads(*words)
        async with chatting(tmp_path, runtime, wait=words[0] != "held") as chat:
            await chat.type("Left")
            await chat.press("enter")
            await chat.until(lambda: chat.said == ["Left"] and not chat.app.engine.is_ready)
            await chat.press(key)
            await chat.until(lambda: chat.said == [])
            runtime.gate.set()
            await chat.settle()
            assert chat.app.engine.is_ready
            assert chat.said == []
            assert not notes(chat, AGAIN)
            assert not chat.told  # such as an error of the database
            await chat.send(" anew")
            assert len(chat.said) == 2

    run(script())


def test_a_question_waits_for_the_model_that_takes_the_place_of_the_first(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=1000), wait=False) as chat:
            await ask(chat, "Hello")
            chat.app.engine.settings["runtime"] = FakeRuntime()
            chat.chat.act("model", "other.gguf")
            await chat.until(lambda: chat.said == ["Hello", "Hello"])
            assert chat.app.engine.name == "other.gguf"
            assert not notes(chat, "not answered yet")

    run(script())


def test_a_load_that_fails_says_nothing_in_a_conversation_opened_meanwhile(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(load_s=1000), wait=False) as chat:
            await ask(chat, "Left")
            await chat.press("ctrl+n")
            await chat.until(lambda: chat.said == [])
            await chat.press("escape")
            await chat.settle()
            assert not notes(chat, "not answered yet")

    run(script())


def test_an_engine_that_ended_before_it_was_asked_is_loaded_again_and_answers(
    tmp_path: Path,
) -> None:
    async def script() -> None:
        async with chatting(tmp_path, loads("dead", "well")) as chat:
            await chat.send("Hello")
            assert chat.said == ["Hello", "Hello"]
            assert notes(chat, AGAIN) == 1
            assert not notes(chat, "closed")
            assert len(chat.chat.desk.conversation.turns) == 2

    run(script())


def test_an_engine_that_ends_again_is_not_asked_a_third_time(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, loads("dead", "dead")) as chat:
            await chat.send("Hello")
            assert chat.said == ["Hello"]
            assert notes(chat, "/regenerate asks again") == 1
            assert "the model has been closed" in chat.texts[-1]
            await chat.press("f5")
            await chat.settle()
            assert chat.said == ["Hello", "Hello"]

    run(script())


def test_an_engine_that_cannot_be_loaded_again_is_said_in_one_line(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, loads("dead", "broken")) as chat:
            await chat.send("Hello")
            assert chat.said == ["Hello"]
            assert notes(chat, "/regenerate asks again") == 1
            assert not notes(chat, AGAIN)
            assert "it does not start" in chat.activity
            assert not chat.chat.showing.said

    run(script())


def test_an_engine_that_fails_while_it_reads_is_not_asked_again(tmp_path: Path) -> None:
    asked: list[str] = []

    def die(prompt: str) -> str:
        asked.append(prompt)
        raise RuntimeFailure("fake", "it died")

    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=die)) as chat:
            await chat.send("Hello")
            assert chat.said == ["Hello"]
            assert len(asked) == 1
            assert "it died; /regenerate asks again" in chat.texts[-1]

    run(script())
