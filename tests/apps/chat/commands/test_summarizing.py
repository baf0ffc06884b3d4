"""A summary under way: it is shown, can be stopped, and never cuts what it is not about."""

import asyncio
from pathlib import Path

import pytest

from edgellm.errors import RuntimeFailure
from edgellm.runtimes.messages import Message
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, run

LEFT = "stopped; nothing was left out"


def answer(prompt: str) -> str:
    """Short, and a summary that goes on until it is stopped."""
    return "word " * 100_000 if "Sum up" in prompt else "Yes."


def slow() -> FakeRuntime:
    return FakeRuntime(answer=answer, decode_s=0.001, context=200_000)


async def begin(chat: Driver) -> None:
    """Talk, then let the model sum it up."""
    for number in range(2):
        await chat.send(f"question {number}")
    await chat.type("/summarize")
    await chat.press("enter")


def test_a_summary_is_shown_while_it_is_written_and_esc_stops_it(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, slow()) as chat:
            await begin(chat)
            await chat.until(lambda: chat.activity.startswith("summing up: writing"))
            assert "Esc stops" in chat.activity
            await chat.press("escape")
            await chat.settle()
            assert LEFT in chat.told
            assert not chat.chat.desk.conversation.cuts
            assert chat.said == ["question 0", "Yes.", "question 1", "Yes."]
            assert chat.chat.showing.used_tokens
            await chat.send("question 2")
            assert chat.said[-1] == "Yes."

    run(script())


def test_a_question_waits_in_the_prompt_while_a_summary_is_written(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, slow()) as chat:
            await begin(chat)
            await chat.until(lambda: chat.chat.talk.answer and chat.chat.talk.answer.tokens)
            await chat.type("and then?")
            await chat.press("enter")
            await chat.until(lambda: chat.chat.prompt.text == "and then?")
            assert "an answer is under way; Esc stops it" in chat.told
            await chat.press("escape")
            await chat.settle()

    run(script())


def test_a_summary_that_fails_is_told_and_nothing_is_left_out(tmp_path: Path) -> None:
    def fail(prompt: str) -> str:
        if "Sum up" in prompt:
            raise RuntimeFailure("fake", "it died")
        return "Yes."

    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=fail)) as chat:
            await begin(chat)
            await chat.settle()
            assert "it died" in chat.told
            assert not chat.chat.desk.conversation.cuts
            await chat.send("question 2")
            assert chat.said[-1] == "Yes."

    run(script())


def test_a_summary_ends_with_the_conversation_that_is_left(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, slow()) as chat:
            await begin(chat)
            await chat.until(lambda: chat.chat.talk.answer and chat.chat.talk.answer.tokens)
            await chat.press("ctrl+n")
            await chat.settle()
            assert chat.said == []
            assert "question 1" not in chat.texts
            await chat.send("/open 1")
            assert len(chat.said) == 4
            assert not chat.chat.desk.conversation.cuts

    run(script())


def test_a_conversation_that_is_opened_as_a_summary_ends_is_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["Yes."])) as chat:
            reached, go_on, count = asyncio.Event(), asyncio.Event(), chat.app.engine.count

            async def held(prompt: str | list[Message]) -> int:
                reached.set()
                await go_on.wait()
                return await count(prompt)

            monkeypatch.setattr(chat.app.engine, "count", held)
            await begin(chat)
            await reached.wait()
            await chat.press("ctrl+n")
            await chat.until(lambda: chat.said == [])
            go_on.set()
            await chat.settle()
            assert LEFT in chat.told
            await chat.send("/open 1")
            assert not chat.chat.desk.conversation.cuts

    run(script())
