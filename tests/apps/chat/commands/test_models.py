"""Choosing, making and loading models from the chat."""

from pathlib import Path
from typing import Any

from edgellm.apps.chat.choosing.recent import list_recent
from edgellm.apps.chat.commands.models import LAST_MODEL
from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.dialogs.converting import ConvertDialog
from edgellm.apps.chat.dialogs.models import ModelDialog
from edgellm.errors import RuntimeFailure
from edgellm.store import Store
from edgellm.testing import FakeModel, FakeRuntime
from tests.support.artifacts import write_artifact
from tests.support.pilots import Driver, chatting, covers, run


async def kept(chat: Driver) -> tuple[str | None, list[str]]:
    """The last model, and those that were used lately."""
    archive = chat.chat.desk.archive
    return await archive.do(remembered.recall, LAST_MODEL), await archive.do(list_recent)


@covers("model")
def test_a_model_is_chosen_from_the_store_and_the_conversation_stays(
    tmp_path: Path, home: Path
) -> None:
    write_artifact(Store(home).path("tiny"))

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send("Hello")
            await chat.press("ctrl+l")
            await chat.until(lambda: isinstance(chat.dialog, ModelDialog))
            dialog = chat.dialog
            assert isinstance(dialog, ModelDialog)
            await chat.until(lambda: dialog.pointed == "tiny")
            await chat.press("enter")
            await chat.settle()
            assert chat.app.engine.reference == "tiny"
            assert chat.said == ["Hello", "Hello"]
            assert await kept(chat) == ("tiny", ["any.gguf"])

    run(script())


@covers("model")
def test_a_model_that_is_named_is_loaded_and_found_again_from_any_folder(
    tmp_path: Path, home: Path
) -> None:
    file = tmp_path / "my model.gguf"
    file.write_bytes(b"GGUF")

    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send(f"/model '{file}'")
            assert chat.app.engine.reference == str(file)
            assert await kept(chat) == (str(file), [str(file), "any.gguf"])

    run(script())


@covers("convert")
def test_a_checkpoint_is_converted_and_loaded(tmp_path: Path, home: Path, checkpoint: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            await chat.send(f"/convert {checkpoint}")
            dialog = chat.dialog
            assert isinstance(dialog, ConvertDialog)
            for keys in ("Enter converts", "Enter chats"):
                await chat.press("enter")
                await chat.until(lambda: dialog.key_line.startswith(keys))  # noqa: B023
            await chat.press("enter")
            await chat.until(lambda: chat.app.engine.reference == "tiny")
            await chat.settle()
            assert chat.app.engine.is_ready

    run(script())


@covers("reload")
def test_a_model_is_loaded_again(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path / "chats") as chat:
            before = chat.app.engine.model
            await chat.send("/reload")
            assert chat.app.engine.reference == "any.gguf"
            assert chat.app.engine.model is not before

    run(script())


@covers("model")
def test_where_the_other_model_does_not_load_the_one_there_was_comes_back(tmp_path: Path) -> None:
    class Picky(FakeRuntime):
        """Loads one file only."""

        def load(self, path: Path, *others: Any, **named: Any) -> FakeModel:
            if path.name != "any.gguf":
                raise RuntimeFailure("fake", f"{path.name} is broken")
            return super().load(path, *others, **named)

    async def script() -> None:
        async with chatting(tmp_path, Picky()) as chat:
            await chat.send("hello")
            await chat.send("/model other.gguf")
            assert "other.gguf is broken" in chat.told
            assert chat.app.engine.is_ready
            assert chat.app.engine.name == "any.gguf"
            await chat.send("again")
            assert chat.said[-1] == "again"

    run(script())


def test_why_the_first_model_does_not_load_is_said_once_and_for_as_long_as_that_is_so(
    tmp_path: Path,
) -> None:
    async def script() -> None:
        runtime = FakeRuntime(load_error=RuntimeFailure("fake", "it is broken"))
        async with chatting(tmp_path, runtime) as chat:
            assert "no model: " in chat.activity
            assert "it is broken" in chat.activity
            assert chat.told == ""
            assert chat.status.endswith("no model")

    run(script())
