"""Older questions, one's own editor, completed commands, and typos."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgellm.apps.chat.app import ChatApp
from edgellm.apps.chat.widgets.completions import Completions, matching
from tests.support.pilots import chatting, covers, run


@covers("history")
def test_a_question_sent_before_is_found_again(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            for text in ("about herons", "about egrets"):
                await chat.send(text)
        async with chatting(tmp_path) as chat:
            await chat.press("ctrl+r")
            await chat.until(lambda: chat.dialog)
            await chat.press(*"heron", "enter")
            await chat.settle()
            assert chat.chat.prompt.text == "about herons"

    run(script())


def test_up_in_an_empty_prompt_goes_through_what_was_sent(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            for text in ("first", "second"):
                await chat.send(text)
            seen = []
            for key in ("up", "up", "up", "down", "down"):
                await chat.press(key)
                seen.append(chat.chat.prompt.text)
            assert seen == ["second", "first", "first", "second", ""]
            await chat.press(*"own", "up")
            assert chat.chat.prompt.text == "own"

    run(script())


@covers("editor")
def test_one_s_own_editor_changes_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "editor.py"
    program.write_text("import sys; p = sys.argv[1]; t = open(p).read(); open(p, 'w').write(t * 2)")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {program}")
    monkeypatch.setattr(ChatApp, "suspend", nothing)

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.type("twice ")
            await chat.press("ctrl+g")
            await chat.settle()
            assert chat.chat.prompt.text == "twice twice "
            monkeypatch.setenv("EDITOR", "/nowhere/vi")
            await chat.press("ctrl+g")
            await chat.settle()
            assert "cannot be started" in chat.told
            monkeypatch.delenv("EDITOR")
            await chat.press("ctrl+g")
            await chat.settle()
            assert "set $EDITOR" in chat.told
            assert chat.chat.prompt.text == "twice twice "

    run(script())


@contextmanager
def nothing(app: ChatApp) -> Iterator[None]:
    """Tests have no terminal to give away."""
    yield


def test_commands_are_completed_and_done(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("hello")
            chat.chat.prompt.focus()
            await chat.press(*"/ren")
            assert chat.chat.query_one(Completions).has_class("-shown")
            await chat.press("tab")
            assert chat.chat.prompt.text == "/rename "
            await chat.press(*"Gulls", "enter")
            await chat.settle()
            assert chat.chat.desk.title == "Gulls"
            await chat.press(*"/hel", "enter")
            await chat.until(lambda: chat.dialog)

    run(script())


def test_a_typo_is_named_and_stays_to_be_mended(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("/regenrate")
            assert "did you mean /regenerate" in chat.told
            assert chat.chat.prompt.text == "/regenrate"
            assert chat.said == []

    run(script())


@pytest.mark.parametrize(
    ("written", "sent"), [("//help", "/help"), ("/etc/hosts is what?", "/etc/hosts is what?")]
)
def test_a_text_may_begin_with_a_slash(tmp_path: Path, written: str, sent: str) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send(written)
            assert chat.said[0] == sent

    run(script())


@pytest.mark.parametrize(
    ("written", "first"),
    [("/", "stop"), ("/re", "regenerate"), ("/unt", "untrim"), ("/trim", None), ("x", None)],
)
def test_what_begins_so_is_suggested_first(written: str, first: str | None) -> None:
    found = matching(written)
    assert (found[0].name if found else None) == first


def test_a_paste_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def script() -> None:
        from textual.events import Paste

        async with chatting(tmp_path) as chat:
            chat.app.post_message(Paste("x" * (9 << 20)))
            await chat.until(lambda: "too long" in chat.told)
            assert chat.chat.prompt.text == ""
            chat.app.post_message(Paste("two\nlines"))
            await chat.until(lambda: chat.chat.prompt.text == "two\nlines")

    run(script())
