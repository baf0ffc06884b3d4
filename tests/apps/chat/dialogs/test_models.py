"""Choosing a model, as a person does it."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgellm.apps.chat.dialogs.models import CONVERT, ModelDialog
from edgellm.apps.chat.dialogs.picker import Picker
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.artifact import MANIFEST, MODEL_GGUF
from edgellm.events import MemoryUse
from edgellm.plan import MemoryParts
from edgellm.store import Store
from edgellm.testing import FakeRuntime
from tests.support.artifacts import write_artifact
from tests.support.dialogs import GIB, Asking, asking, fake_engine, loaded_engine, set_memory
from tests.support.pilots import run


@pytest.fixture
def store(home: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """8 GiB are free of 20, 2 are kept in reserve."""
    set_memory(monkeypatch, 8 * GIB, 20 * GIB)
    store = Store(home)
    for name, needed in (("small", 1 * GIB), ("middle", 7 * GIB), ("large", 10 * GIB)):
        artifact = write_artifact(store.path(name))
        memory = MemoryParts(needed, 0, 0, 0)
        plan = replace(artifact.plan, memory=memory, budget_bytes=needed)
        replace(artifact, plan=plan).write_manifest(artifact.folder)
    return store


def row(asked: Asking[str], name: str) -> str:
    (found,) = (line for line in asked.rows if name in line.split())
    return found


async def filled(asked: Asking[str]) -> None:
    await asked.until(lambda: len(asked.rows) > 2)


def test_each_model_says_whether_it_fits(store: Store) -> None:
    async def script() -> None:
        async with asking(ModelDialog(fake_engine(), store)) as asked:
            await filled(asked)
            assert "fits" in row(asked, "small")
            assert "1.0 GiB short" in row(asked, "middle")
            assert "4.0 GiB short" in row(asked, "large")
            assert "6.0 GiB for a model: 8.0 GiB free now - 2.0 GiB kept in reserve" in asked.text
            assert "bits" in asked.text

    run(script())


def test_what_the_loaded_model_gives_back_counts(store: Store) -> None:
    async def script() -> None:
        use = MemoryUse(1 * GIB, GIB, GIB, 3 * GIB)
        engine = await loaded_engine(store.path("small") / MODEL_GGUF, FakeRuntime(memory=use))
        async with asking(ModelDialog(engine, store)) as asked:
            await filled(asked)
            assert row(asked, "small").startswith("● small")
            assert asked.pointed == row(asked, "small")
            assert "fits instead" in row(asked, "middle")
            assert "1.0 GiB short" in row(asked, "large")
            assert "3.0 GiB that small gives back" in asked.text
            await asked.press("enter")
            await asked.until(lambda: asked.answers == [None])
        await engine.close()

    run(script())


def test_typing_narrows_the_list_and_enter_takes_the_first(store: Store) -> None:
    async def script() -> None:
        async with asking(ModelDialog(fake_engine(), store)) as asked:
            await filled(asked)
            await asked.press(*"SMA")
            assert [line.split()[0] for line in asked.rows] == ["small", "Another", "Convert"]
            await asked.press("enter")
            await asked.until(lambda: asked.answers == ["small"])

    run(script())


def test_what_does_not_fit_is_taken_after_a_question_with_the_numbers(store: Store) -> None:
    async def script() -> None:
        dialog = ModelDialog(fake_engine(), store)
        async with asking(dialog) as asked:
            await filled(asked)
            await asked.press(*"large", "enter")
            await asked.until_in_front(Picker)
            assert "large needs 10.0 GiB, 4.0 GiB more than the 6.0 GiB" in asked.text
            await asked.press("enter")  # the first answer is no
            await asked.until(lambda: asked.app.screen is dialog)
            assert asked.answers == []
            await asked.press("enter")
            await asked.until_in_front(Picker)
            await asked.press("down", "enter")
            await asked.until(lambda: asked.answers == ["large"])

    run(script())


def test_a_broken_model_says_why_and_is_not_taken(store: Store) -> None:
    async def script() -> None:
        (store.path("large") / MANIFEST).write_text("{", encoding="utf-8")
        async with asking(ModelDialog(fake_engine(), store)) as asked:
            await filled(asked)
            assert "edgellm.json: not JSON" in row(asked, "large")
            await asked.press(*"large", "enter")
            await asked.until(lambda: asked.text.count("edgellm.json: not JSON"))
            assert asked.answers == []

    run(script())


def test_what_the_chat_was_started_with_is_told_before_a_model_is_closed_for_it(
    store: Store,
) -> None:
    async def script() -> None:
        async with asking(ModelDialog(fake_engine(memory="512MiB"), store)) as asked:
            await filled(asked)
            assert "not by --memory" in row(asked, "small")
            await asked.press(*"small", "enter")
            await asked.until(lambda: "small needs 1.00 GiB" in asked.text)
            assert asked.answers == []

    run(script())


def test_a_path_is_typed_where_nothing_of_that_name_is_stored(store: Store, tmp_path: Path) -> None:
    folder = write_artifact(tmp_path / "elsewhere").folder

    async def script() -> None:
        async with asking(ModelDialog(fake_engine(), store)) as asked:
            await filled(asked)
            await asked.press(*"nope", "enter")
            await asked.until_in_front(LineDialog)
            await asked.press("enter")
            await asked.until(lambda: "'nope': no such file" in asked.text)
            await asked.press("ctrl+u", *str(folder), "enter")
            await asked.until(lambda: asked.answers == [str(folder)])

    run(script())


def test_models_used_lately_and_other_ways_stand_below(store: Store) -> None:
    async def script() -> None:
        async with asking(ModelDialog(fake_engine(), store, ["org/name"])) as asked:
            await filled(asked)
            assert "on the Hub" in row(asked, "org/name")
            await asked.press("up", "enter")
            await asked.until(lambda: asked.answers == [CONVERT])

    run(script())


def test_an_empty_store_offers_the_model_that_comes_along(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_memory(monkeypatch, 8 * GIB, 20 * GIB)

    async def script() -> None:
        async with asking(ModelDialog(fake_engine(), Store(home))) as asked:
            await filled(asked)
            assert "made at first use" in asked.pointed
            await asked.press("enter")
            await asked.until(lambda: asked.answers == ["novelist-7m"])

    run(script())


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (160, 45)])
def test_the_keys_can_be_read_at_any_size(store: Store, size: tuple[int, int]) -> None:
    async def script() -> None:
        for number in range(30):
            write_artifact(store.path(f"another-{number}"))
        async with asking(ModelDialog(fake_engine(), store), size) as asked:
            await filled(asked)
            keys = asked.app.screen.query_one(".keys")
            await asked.until(lambda: keys.region.height == 1 and keys.region.bottom < size[1])
            await asked.press("up")
            assert asked.pointed.split()[0] == "Convert"

    run(script())


def test_the_list_stays_where_it_is_while_the_memory_changes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgellm.apps.chat.dialogs.models.LOOK_S", 0.02)

    async def script() -> None:
        async with asking(ModelDialog(fake_engine(), store)) as asked:
            await filled(asked)
            await asked.press("down")
            before = asked.pointed.split()[0]
            set_memory(monkeypatch, 16 * GIB, 20 * GIB)
            await asked.until(lambda: "fits" in row(asked, "large"))
            assert asked.pointed.split()[0] == before

    run(script())
