"""Copying gives what was written, and says which way it went."""

from pathlib import Path

import pytest

from edgellm.apps.chat import clipboard
from edgellm.apps.chat.clipboard import Copied
from edgellm.testing import FakeRuntime
from tests.support.pilots import chatting, covers, run

CODE = "Here:\n\n```python\nprint(1)\n```\n\nand\n\n```\n  two\n```\n"


@pytest.fixture(autouse=True)
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was copied, in order."""
    texts: list[str] = []

    async def copy(text: str, *others: object) -> Copied:
        texts.append(text)
        return Copied("xclip", True, len(text))

    monkeypatch.setattr(clipboard, "copy", copy)
    return texts


@covers("copy")
def test_an_answer_is_copied_in_its_markdown(tmp_path: Path, copied: list[str]) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["**Bold** \x1b[31m"])) as chat:
            await chat.send("Say")
            await chat.press("ctrl+y")
            await chat.settle()
            assert copied == ["**Bold** \x1b[31m"]
            assert "with xclip" in chat.told

    run(script())


@covers("copy")
def test_the_selected_turn_is_copied_and_one_of_a_number(tmp_path: Path, copied: list[str]) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=["B", "D"])) as chat:
            await chat.send("A")
            await chat.send("C")
            await chat.press("alt+up", "alt+up", "y")
            await chat.settle()
            for command in ("/copy 1", "/copy 4", "/copy 5"):
                await chat.send(command)
            assert copied == ["C", "D", "A"]
            assert "no number from 1 to 4" in chat.told

    run(script())


@covers("code")
def test_a_block_of_code_is_copied_alone(tmp_path: Path, copied: list[str]) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=[CODE])) as chat:
            await chat.send("Code?")
            for command in ("/code", "/code 1"):
                await chat.send(command)
            await chat.press("alt+up", "c")
            await chat.settle()
            assert copied == ["  two", "print(1)", "  two"]

    run(script())


def test_clicks_copy_a_turn_and_a_block(tmp_path: Path, copied: list[str]) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime(answer=[CODE])) as chat:
            await chat.send("Code?")
            width = chat.chat.transcript.size.width
            for row in (0, 6):  # the question's header; that of the first block
                await chat.pilot.click("#transcript", offset=(width - 6, row))
                await chat.settle()
            assert copied == ["Code?", "print(1)"]

    run(script())


def test_ctrl_c_copies_what_is_selected_in_the_prompt(tmp_path: Path, copied: list[str]) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.type("heron")
            await chat.press("shift+home", "ctrl+c")
            await chat.until(lambda: copied == ["heron"])

    run(script())
