"""Selecting turns, and walking between branches."""

from pathlib import Path

import pytest

from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.testing import CHAT_TEMPLATE, FakeRuntime
from tests.support.pilots import Driver, chatting, covers, run

THINKING = CHAT_TEMPLATE + "{# <think> </think> #}"


@covers("previous", "next")
def test_the_cursor_walks_over_the_turns_and_esc_goes_back(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("one")
            await chat.send("two")
            await chat.press("alt+up")
            assert selected(chat) == chat.chat.desk.conversation.head
            await chat.press("alt+up", "alt+up", "alt+down")
            assert selected(chat) == chat.chat.desk.conversation.path()[2].id
            assert chat.chat.transcript.has_focus
            await chat.press("escape")
            await chat.settle()
            assert chat.chat.transcript.cursor is None
            assert chat.chat.prompt.has_focus

    run(script())


def test_what_is_typed_over_a_turn_goes_to_the_prompt(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("one")
            await chat.press("alt+up", "H", "i")
            await chat.until(lambda: chat.chat.prompt.text == "Hi")
            assert chat.chat.prompt.has_focus

    run(script())


@covers("branch-before", "branch-after")
def test_brackets_show_the_other_branches(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["1", "2", "3"])) as chat:
            await chat.send("a")
            await chat.press("f5")
            await chat.settle()
            await chat.press("f5")
            await chat.settle()
            seen = [chat.said[-1]]
            await chat.press("alt+up")
            for key in ("[", "[", "]", "]"):
                await chat.press(key)
                await chat.settle()
                seen.append(chat.said[-1])
            assert seen == ["3", "2", "1", "2", "3"]
            assert chat.chat.showing.used_tokens

    run(script())


@covers("branch")
def test_a_branch_begins_at_the_selected_turn(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("a")
            await chat.send("b")
            await chat.press("alt+up", "alt+up", "alt+up", "b")
            await chat.settle()
            assert chat.said == ["a", "a"]
            assert "taken back" in chat.texts[-1]
            await chat.send("c")
            assert chat.said == ["a", "a", "c", "c"]
            conversation = chat.chat.desk.conversation
            assert len(conversation.children(conversation.path()[1].id)) == 2

    run(script())


@covers("thoughts")
def test_thoughts_are_folded_and_unfold(tmp_path: Path) -> None:
    async def script() -> None:
        runtime = FakeRuntime(answer=["<think>Hm, hm.</think>Yes."], chat_template=THINKING)
        async with chatting(tmp_path, runtime) as chat:
            await chat.send("Well?")
            (_, answer) = chat.chat.desk.conversation.path()
            assert (answer.content, answer.reasoning) == ("Yes.", "Hm, hm.")
            item = chat.chat.transcript.items[-1]
            assert isinstance(item, TurnItem)
            assert not item.is_unfolded
            await chat.press("f8")
            await chat.settle()
            assert item.is_unfolded
            await chat.press("alt+up", "space")
            await chat.settle()
            assert not item.is_unfolded

    run(script())


@pytest.mark.parametrize("command", ["undo", "redo", "thoughts", "branch", "branch-after", "edit"])
def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, command: str) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send(f"/{command}")
            assert chat.told
            assert "\n" not in chat.told

    run(script())


def selected(chat: Driver) -> int | None:
    item = chat.chat.transcript.cursor
    return None if item is None else item.key
