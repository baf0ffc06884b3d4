"""Editing, taking back and bringing back: what stands in the prompt meanwhile."""

from pathlib import Path

import pytest

from edgellm.apps.chat.conversations.records import Attachment
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, run


async def edit(chat: Driver, question: str) -> None:
    """Begin to edit the last question."""
    await chat.press("f4")
    await chat.until(lambda: chat.chat.prompt.text == question)


async def press(chat: Driver, key: str) -> None:
    await chat.press(key)
    await chat.settle()


@pytest.mark.parametrize(("key", "said"), [("escape", ["first"] * 2), ("enter", ["first!"] * 2)])
def test_what_stood_in_the_prompt_comes_back_after_an_edit(
    tmp_path: Path, key: str, said: list[str]
) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("first")
            await chat.type("half a thought")
            await edit(chat, "first")
            await chat.press("!")
            await press(chat, key)
            assert chat.chat.editing is None
            assert chat.chat.prompt.text == "half a thought"
            assert chat.said == said

    run(script())


def test_what_stood_in_the_prompt_comes_back_where_another_conversation_is_opened(
    tmp_path: Path,
) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("first")
            await chat.type("half a thought")
            await edit(chat, "first")
            await press(chat, "ctrl+n")
            assert chat.chat.editing is None
            assert chat.chat.prompt.text == "half a thought"

    run(script())


def test_files_that_wait_go_with_the_next_question_and_not_with_an_edit(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            old, new = Attachment("old.txt", "alpha"), Attachment("new.txt", "beta")
            chat.chat.desk.attachments.append(old)
            await chat.send("first")
            chat.chat.desk.attachments.append(new)
            await edit(chat, "first")
            await chat.press("!")
            await press(chat, "enter")
            question, answer = chat.chat.desk.conversation.path()
            assert question.attachments == (old,)
            assert "beta" not in answer.content
            assert chat.chat.desk.attachments == [new]
            await chat.send("second")
            assert chat.chat.desk.conversation.path()[2].attachments == (new,)

    run(script())


def test_an_edit_that_leaves_nothing_stays_in_the_prompt(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("first")
            await edit(chat, "first")
            await chat.press("ctrl+u", "space")
            await press(chat, "enter")
            assert "nothing is left of it; Esc leaves it as it was" in chat.told
            assert chat.chat.prompt.text == " "
            assert chat.chat.editing is not None
            await chat.press(*"better")
            await press(chat, "enter")
            assert chat.said == [" better"] * 2

    run(script())


def test_steps_back_and_as_many_forward_end_where_they_began(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["1", "2"])) as chat:
            await chat.send("a")
            await chat.send("b")
            seen = []
            for key in ("alt+z", "alt+z", "alt+y", "alt+y"):
                await press(chat, key)
                seen.append((chat.said, chat.chat.prompt.text))
            assert seen == [
                (["a", "1"], "b"),
                ([], "a"),
                (["a", "1"], "b"),
                (["a", "1", "b", "2"], ""),
            ]

    run(script())


def test_a_step_forward_brings_back_the_newest_answer(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["1", "2"])) as chat:
            await chat.send("a")
            await press(chat, "f5")
            await chat.press("alt+up")
            await press(chat, "[")
            assert chat.said == ["a", "1"]
            await press(chat, "alt+z")
            await press(chat, "alt+y")
            assert chat.said == ["a", "2"]

    run(script())


def test_own_words_in_the_prompt_stay_there_whatever_is_taken_back(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["1", "2"])) as chat:
            await chat.send("a")
            await chat.send("b")
            await chat.type("mine")
            for key in ("alt+z", "alt+z", "alt+y", "alt+y"):
                await press(chat, key)
                assert chat.chat.prompt.text == "mine"
            assert chat.said == ["a", "1", "b", "2"]

    run(script())
