"""Conversations to files and back."""

from pathlib import Path

import pytest
from textual.widgets import Static

from edgellm.apps.chat.commands.files import file_name
from edgellm.testing import FakeRuntime
from tests.support.pilots import chatting, covers, run


@covers("export", "import")
@pytest.mark.parametrize("ending", ["json", "md"])
def test_what_is_exported_is_imported_as_a_conversation_of_its_own(
    tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"birds.{ending}"

    async def script() -> None:
        async with chatting(tmp_path / "one", FakeRuntime(answer=["A **bird**."])) as chat:
            await chat.send("/system Be kind.")
            await chat.send("What is a heron?")
            await chat.send(f"/export {path}")
        async with chatting(tmp_path / "two") as chat:
            await chat.send(f"/import {path}")
            assert chat.said == ["What is a heron?", "A **bird**."]
            assert chat.chat.desk.conversation.system == "Be kind."

    run(script())


@covers("export")
def test_a_file_that_is_there_is_replaced_only_after_a_yes(tmp_path: Path) -> None:
    path = tmp_path / "there.md"
    path.write_text("mine")

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send("hello")
            for keys, is_mine in ((["enter"], True), (["down", "enter"], False)):
                await chat.send(f"/export {path}")
                await chat.until(lambda: chat.dialog)
                await chat.press(*keys)
                await chat.settle()
                assert (path.read_text() == "mine") == is_mine

    run(script())


@covers("export", "import")
@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("/export {folder}/x.txt", "ends in .md or .json"),
        ("/export {folder}/none/x.md", "no such folder"),
        ("/import {folder}/none.json", "none.json"),
        ("/import {folder}/rubbish.json", "rubbish.json"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, command: str, problem: str) -> None:
    (tmp_path / "rubbish.json").write_text("{")

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send("hello")
            await chat.send(command.format(folder=tmp_path))
            assert problem in chat.told
            assert chat.said == ["hello", "hello"]

    run(script())


@pytest.mark.parametrize(
    ("title", "name"), [("What is a heron?", "What-is-a-heron"), ("../..", "conversation")]
)
def test_a_file_is_named_after_the_conversation(title: str, name: str) -> None:
    assert file_name(title) == name


@covers("export", "import")
def test_what_is_asked_and_told_names_the_file_and_counts_the_turns(tmp_path: Path) -> None:
    path = tmp_path / "there.json"

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send("hello")
            await chat.send(f"/export {path}")
            await chat.send(f"/export {path}")
            assert chat.dialog is not None
            note = str(chat.dialog.query_one(".note", Static).content)
            assert note == f"{path} is there already."
            await chat.press("escape")
            await chat.settle()
            await chat.send(f"/import {path}")
            assert chat.told == "Imported 2 turns."

    run(script())
