"""Converting a checkpoint, as a person does it; the work is done by real processes."""

import re
import sys
from pathlib import Path

import psutil
import pytest
from textual.widgets import Button, Input

from edgellm.apps.chat.dialogs.convert_form import ConvertForm
from edgellm.apps.chat.dialogs.converting import ConvertDialog
from edgellm.apps.chat.dialogs.picker import Picker
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.cli.child import edgellm_command
from edgellm.events import MemoryUse
from edgellm.store import Store
from edgellm.testing import FakeRuntime
from tests.support.artifacts import write_artifact
from tests.support.dialogs import (
    GIB,
    Asking,
    asking,
    fake_engine,
    loaded_engine,
    set_memory,
)
from tests.support.pilots import run


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home)


def dialog_of(checkpoint: Path | str, store: Store) -> ConvertDialog:
    return ConvertDialog(str(checkpoint), fake_engine(memory="1GiB", context=256), store)


def button(asked: Asking[str]) -> str:
    return str(asked.app.screen.query_one(Button).label)


def field(asked: Asking[str], name: str) -> Input:
    return asked.app.screen.query_one(f"#{name}", Input)


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What work writes at its end, which takes long to come."""
    end = tmp_path / "end"
    program = f"import time; time.sleep(15); open({str(end)!r}, 'w')"
    command = [sys.executable, "-c", program, "edgellm"]
    monkeypatch.setattr("edgellm.apps.child_runs.edgellm_command", lambda *arguments: command)
    return end


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work begins late enough for its beginning to be seen."""
    program = "import os, sys, time; time.sleep(1); os.execv(sys.argv[1], sys.argv[1:])"

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", program, *edgellm_command(*arguments)]

    monkeypatch.setattr("edgellm.apps.child_runs.edgellm_command", command)


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "edgellm" in words_of(one)]


def words_of(process: psutil.Process) -> list[str]:
    """Of its command line; none of one that has just ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_checkpoint_is_planned_converted_and_chatted_with(checkpoint: Path, store: Store) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store), (80, 24)) as asked:
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Convert")
            assert "bits per weight · K q8_0, V q8_0 · 256 tokens" in asked.text
            assert re.search(r"weights +\d+\.\d\d MiB", asked.text)
            assert re.search(r"budget +1\.00 GiB +█{32}", asked.text)
            assert "tensors: " in asked.text
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Chat with it")
            assert "tiny is ready" in asked.text
            await asked.press("enter")
            await asked.until(lambda: asked.answers == ["tiny"])

    run(script())
    assert store.open("tiny").plan.kv.context == 256


def test_a_memory_that_is_too_small_shows_what_would_fit(checkpoint: Path, store: Store) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store)) as asked:
            await asked.press("tab", *"40MiB", "tab", *"512", "enter")
            await asked.until(lambda: "It does not fit" in asked.text)
            assert re.search(
                r"4\d\.\d\d MiB are needed at least, .* more than 40.00 MiB", asked.text
            )
            assert "No context fits 40.00 MiB" in asked.text
            assert re.search(r"total +4\d\.\d\d MiB", asked.text)
            assert field(asked, "memory").value == "40MiB"
            assert button(asked) == "Plan"
            assert not asked.app.screen.query_one(ConvertForm).disabled

    run(script())


@pytest.mark.parametrize(
    ("keys", "said", "name"),
    [
        (["ctrl+u"], "give a checkpoint", "checkpoint"),
        ([*"/more"], "no such folder", "checkpoint"),
        (["tab", *"40"], "give a number with a unit", "memory"),
        (["tab", "tab", *"many"], "give a number of tokens", "context"),
    ],
)
def test_what_cannot_be_read_is_told_and_stands_in_focus(
    keys: list[str], said: str, name: str, checkpoint: Path, store: Store
) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store)) as asked:
            await asked.press("end", *keys, "enter")
            await asked.until(lambda: said in asked.text)
            assert asked.app.focused is field(asked, name)

    run(script())


def test_what_the_process_refuses_is_told_in_one_line(tmp_path: Path, store: Store) -> None:
    async def script() -> None:
        (tmp_path / "empty").mkdir()
        async with asking(dialog_of(tmp_path / "empty", store)) as asked:
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Plan" and "config.json" in asked.text)
            assert field(asked, "checkpoint").value == str(tmp_path / "empty")
            await asked.press("escape")
            await asked.until(lambda: asked.answers == [None])

    run(script())


def test_escape_stops_the_work_and_leaves_the_dialog_usable(
    checkpoint: Path, store: Store, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store)) as asked:
            await asked.press("enter")
            await asked.until(children)
            await asked.press("escape")
            await asked.until(lambda: "goes on from there" in asked.text)
            assert (asked.answers, children(), slow.exists()) == ([], [], False)
            monkeypatch.setattr("edgellm.apps.child_runs.edgellm_command", edgellm_command)
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Convert")

    run(script())


@pytest.mark.usefixtures("late")
def test_a_second_enter_stops_nothing(checkpoint: Path, store: Store) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store)) as asked:
            await asked.press("enter")
            await asked.until(children)
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Convert")

    run(script())


@pytest.mark.parametrize("leaves", [True, False], ids=["the dialog", "the app"])
def test_nothing_runs_on_once_it_is_closed(
    leaves: bool, checkpoint: Path, store: Store, slow: Path
) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store)) as asked:
            await asked.press("enter")
            await asked.until(children)
            if leaves:
                await asked.press("escape", "escape")
                await asked.until(lambda: asked.answers == [None])

    run(script())  # which waits for the threads
    assert (children(), slow.exists()) == ([], False)


def test_a_changed_field_asks_for_another_plan(checkpoint: Path, store: Store) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store)) as asked:
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Convert")
            field(asked, "context").focus()
            await asked.press(*"128")
            await asked.until(lambda: button(asked) == "Plan")
            await asked.press("enter")
            await asked.until(lambda: "128 tokens" in asked.text)

    run(script())


@pytest.mark.parametrize(
    ("keys", "typed", "name"),
    [
        (["enter"], "", "tiny-2"),
        (["down", "enter"], "mine", "mine"),
        (["up", "enter"], "", "tiny"),
    ],
    ids=["keep both", "another name", "replace"],
)
def test_a_name_that_is_taken_is_asked_about(
    keys: list[str], typed: str, name: str, checkpoint: Path, store: Store
) -> None:
    write_artifact(store.path("tiny"))

    async def script() -> None:
        dialog = dialog_of(checkpoint, store)
        async with asking(dialog) as asked:
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Convert")
            await asked.press("enter")
            await asked.until_in_front(Picker)
            await asked.press(*keys)
            if typed:
                await asked.until_in_front(LineDialog)
                await asked.press("ctrl+u", *typed, "enter")
            await asked.until(lambda: asked.app.screen is dialog)
            await asked.until(lambda: button(asked) == "Chat with it")

    run(script())
    assert store.open(name).source.name == "tiny"
    assert (store.open("tiny").source.name == "tiny") is (name == "tiny")


def test_the_empty_memory_is_what_is_free_and_what_comes_back(
    checkpoint: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_memory(monkeypatch, 8 * GIB, 20 * GIB)

    async def script() -> None:
        use = MemoryUse(GIB, GIB, GIB, 2 * GIB)
        engine = await loaded_engine(checkpoint, FakeRuntime(memory=use))
        async with asking(ConvertDialog(str(checkpoint), engine, store)) as asked:
            await asked.until(lambda: field(asked, "memory").placeholder == "8GiB")
            assert "2.0 GiB given back" in asked.text
            await asked.until(lambda: field(asked, "context").placeholder == "512")
        await engine.close()

    run(script())


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 45)])
def test_the_keys_can_be_read_at_every_step(
    size: tuple[int, int], checkpoint: Path, store: Store
) -> None:
    async def script() -> None:
        async with asking(dialog_of(checkpoint, store), size) as asked:
            keys = asked.app.screen.query_one(".keys")

            def is_seen() -> bool:
                return keys.region.height == 1 and keys.region.bottom < size[1]

            await asked.until(is_seen)
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Convert" and is_seen())
            await asked.press("enter")
            await asked.until(lambda: button(asked) == "Chat with it" and is_seen())

    run(script())
