"""Files that go along with a question."""

import re
from pathlib import Path

import pytest
from textual.widgets import Static

from edgellm.apps.chat.commands.attaching import MOST_BYTES, path_of, read_attachment
from edgellm.errors import InputError
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, covers, run


@covers("attach")
def test_a_file_is_counted_before_it_is_attached_and_sent_with_the_question(tmp_path: Path) -> None:
    note = tmp_path / "my note.txt"
    note.write_text("alpha beta gamma")

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send(f"/attach '{note}'")
            await chat.until(lambda: chat.dialog)
            assert chat.dialog is not None
            assert "tokens" in str(chat.dialog.query_one(".note", Static).render())
            await chat.press("down", "enter")
            await chat.settle()
            assert "my note.txt" in str(chat.chat.query_one("#attached").render())
            await chat.send("What is it?")
            question, answer = chat.chat.desk.conversation.path()
            assert question.content == "What is it?"
            assert [one.name for one in question.attachments] == ["my note.txt"]
            assert "alpha beta gamma" in answer.content
            assert not chat.chat.desk.attachments

    run(script())


@covers("attach", "detach")
def test_a_no_attaches_nothing_and_detach_takes_off(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            for keys, count in ((["enter"], 0), (["down", "enter"], 1)):
                await chat.press("ctrl+t")
                await chat.until(lambda: chat.dialog)
                await chat.press(*str(tmp_path / "a.txt"), "enter")
                await chat.pilot.pause()
                await chat.settle()
                await chat.press(*keys)
                await chat.settle()
                assert len(chat.chat.desk.attachments) == count
            await chat.send("/detach")
            assert chat.chat.desk.attachments == []

    run(script())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"a\0b", "NUL"),
        (b"x" * (MOST_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as refusal:
        read_attachment(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="not a regular file"):
        read_attachment(tmp_path)


@pytest.mark.parametrize("typed", ["/a b", "'/a b'", '"/a b"', " /a b "])
def test_a_path_may_be_quoted(typed: str) -> None:
    assert path_of(typed) == Path("/a b")


def test_a_home_is_found() -> None:
    assert path_of("~/x") == Path.home() / "x"


async def cost(chat: Driver, path: Path) -> str:
    """What is said of a file before it is attached."""
    await chat.send(f"/attach {path}")
    await chat.until(lambda: chat.dialog)
    assert chat.dialog is not None
    return str(chat.dialog.query_one(".note", Static).content)


def numbers(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", text)]


def test_what_a_file_costs_counts_what_is_said_and_what_waits_already(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("alpha " * 20)
    two.write_text("beta " * 30)

    async def script() -> None:
        async with chatting(tmp_path / "chats", FakeRuntime(context=60)) as chat:
            await chat.send("hello")
            said = chat.chat.showing.used_tokens
            first, used, context = numbers(await cost(chat, one))
            assert said
            assert (used, context) == (said + first, 60)
            await chat.press("down", "enter")
            await chat.settle()
            note = await cost(chat, two)
            second, used, context = numbers(note)
            assert (used, context) == (said + first + second, 60)
            assert used > context
            assert note.endswith("That is too much: the context holds 60.")

    run(script())


def test_without_a_model_the_characters_of_a_file_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("alpha beta")

    async def script() -> None:
        runtime = FakeRuntime(load_error=InputError("no such model"))
        async with chatting(tmp_path / "chats", runtime) as chat:
            assert await cost(chat, path) == "It has 10 characters; no model is loaded yet."

    run(script())
