"""Answers whose end cannot be written: shown and sent all the same, and kept once that works."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgellm.apps.chat.conversations import draft
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import UNFINISHED, Turn
from edgellm.errors import EdgeLLMError, InputError, OutputError
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, run

NOT_WHOLE = "this answer is not kept whole: no room"
FULL = OutputError("no room")


@dataclass
class Disk:
    """Takes the words of answers, unless it refuses."""

    refusal: EdgeLLMError | None = None
    ends: int = 0  # of answers that were written

    def guard(self, write: Callable[..., None], *, is_end: bool) -> Callable[..., None]:
        def guarded(*words: Any) -> None:
            if self.refusal is not None:
                raise self.refusal
            write(*words)
            self.ends += is_end

        return guarded


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    for name in ("append_piece", "finish_answer"):
        write = getattr(draft, name)
        guarded = disk.guard(write, is_end=name == "finish_answer")
        monkeypatch.setattr(draft, name, guarded)
    return disk


async def kept(chat: Driver) -> list[Turn]:
    """The path as the database has it."""
    return (await chat.chat.desk.archive.do(load, chat.chat.desk.conversation.id)).path()


def test_an_answer_that_cannot_be_kept_is_shown_and_sent_and_kept_later(
    tmp_path: Path, disk: Disk
) -> None:
    asked: list[tuple[str, int]] = []  # (prompt, answers that were written before)

    def answer(prompt: str) -> str:
        asked.append((prompt, disk.ends))
        return "One sentence. And another."

    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=answer)) as chat:
            disk.refusal = FULL
            await chat.send("Tell")
            assert chat.last.text == "One sentence. And another."
            assert chat.texts[-1] == NOT_WHOLE
            assert (await kept(chat))[-1].ending == UNFINISHED
            disk.refusal = None
            await chat.send("More")
            assert "<assistant>One sentence. And another.<end><user>More" in asked[-1][0]
            assert [ends for _, ends in asked] == [0, 1]
            assert await kept(chat) == chat.chat.desk.conversation.path()
            assert disk.ends == 2

    run(script())


def test_an_answer_that_could_not_be_kept_is_kept_when_the_conversation_is_left(
    tmp_path: Path, disk: Disk
) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["One. Two."])) as chat:
            disk.refusal = FULL
            await chat.send("Tell")
            disk.refusal = None
            await chat.leave()
        async with chatting(tmp_path, resume=True) as chat:
            assert chat.said == ["Tell", "One. Two."]
            assert chat.last.ending == ""

    run(script())


def test_what_is_left_to_keep_is_kept_once_whoever_sees_to_it(tmp_path: Path, disk: Disk) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            disk.refusal = FULL
            await chat.send("Tell")
            disk.refusal = None
            await asyncio.gather(*(chat.chat.talk.stopped() for _ in range(3)))
            assert disk.ends == 1
            assert (await kept(chat))[-1].ending == "end"

    run(script())


def test_an_answer_that_can_never_be_kept_is_told_and_not_tried_again(
    tmp_path: Path, disk: Disk
) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            disk.refusal = InputError("no room for this one")
            await chat.send("Tell")
            assert chat.texts[-1].startswith(NOT_WHOLE)
            disk.refusal = None
            await chat.send("More")
            assert disk.ends == 1
            assert chat.said == ["Tell", "Tell", "More", "More"]

    run(script())
