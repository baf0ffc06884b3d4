"""The model on its way in and out."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edgellm.apps.chat.answering.engine import Engine, Restored, State
from edgellm.errors import Cancelled, RuntimeFailure
from edgellm.events import LoadProgress
from edgellm.runtimes.messages import Message
from edgellm.testing import FakeRuntime
from tests.support.pilots import run


def engine(**script: Any) -> Engine:
    return Engine({"runtime": FakeRuntime(**script), "isolation": "none"})


def using(script: Callable[[Engine], Awaitable[None]], **runtime: Any) -> None:
    async def work() -> None:
        one = engine(**runtime)
        try:
            await script(one)
        finally:
            await one.close()

    run(work())


def test_a_model_is_loaded_answers_and_is_closed() -> None:
    async def script(one: Engine) -> None:
        assert one.state is State.EMPTY
        assert await one.load("models/heron/model.gguf")
        assert (one.is_ready, one.name) == (True, "heron")
        assert one.memory is not None
        stream = one.answer([Message("user", "Hi")], {}, trims=False)
        assert (await stream.result()).text == "Hi"
        await one.close()
        assert one.state is State.EMPTY

    using(script)


@pytest.mark.parametrize(
    ("reference", "name"),
    [("novelist-7m", "novelist-7m"), ("org/name", "name"), ("a/b.gguf", "b.gguf"), ("", "")],
)
def test_a_model_is_called_as_people_see_it(reference: str, name: str) -> None:
    one = engine()
    one.reference = reference
    assert one.name == name


def test_a_load_that_fails_says_why_and_may_be_tried_again() -> None:
    async def script(one: Engine) -> None:
        assert not await one.load("any.gguf")
        assert (one.state, one.was_stopped) == (State.FAILED, False)
        assert "broken" in str(one.error)
        assert not await one.load(one.reference, one.changed_settings)

    using(script, load_error=RuntimeFailure("fake", "broken"))


def test_a_load_can_be_stopped() -> None:
    async def script(one: Engine) -> None:
        loading = asyncio.create_task(one.load("any.gguf"))
        while one.fraction is None:
            await asyncio.sleep(0.005)
        assert one.stop_loading()
        assert not await loading
        assert one.was_stopped
        assert isinstance(one.error, Cancelled)
        assert not one.stop_loading()

    using(script, load_s=1000)


def test_a_second_load_takes_the_place_of_the_first() -> None:
    async def script(one: Engine) -> None:
        first = asyncio.create_task(one.load("first.gguf"))
        while one.fraction is None:
            await asyncio.sleep(0.005)
        second = asyncio.create_task(one.load("second.gguf", {"context": 64}))
        assert not await first
        while one.reference != "second.gguf":
            await asyncio.sleep(0.005)
        one.stop_loading()
        assert not await second
        assert one.reference == "second.gguf"

    using(script, load_s=1000)


def test_who_waits_hears_when_there_is_a_model() -> None:
    async def script(one: Engine) -> None:
        loading = asyncio.create_task(one.load("any.gguf"))
        await asyncio.sleep(0)
        assert await one.settled()
        assert await loading

    using(script, load_s=0.05)


def test_nobody_waits_for_a_load_that_was_given_up_before_its_turn() -> None:
    async def script(one: Engine) -> None:
        first = asyncio.create_task(one.load("first.gguf"))
        while one.fraction is None:
            await asyncio.sleep(0.005)
        second = asyncio.create_task(one.load("second.gguf"))
        await asyncio.sleep(0)
        second.cancel()
        assert not await one.settled()
        assert not await first
        assert second.cancelled()

    using(script, load_s=1000)


def test_a_model_without_a_template_goes_on_with_the_text() -> None:
    async def script(one: Engine) -> None:
        await one.load("any.gguf")
        messages = [Message("system", "S"), Message("user", "once upon")]
        stream = one.answer(messages, {"thinking": False, "temperature": 0.0}, trims=True)
        assert (await stream.result()).text == "S\n\nonce upon"

    using(script, chat_template=None, answer=lambda prompt: prompt)


def test_what_was_read_is_kept_and_taken_back(tmp_path: Path) -> None:
    async def script(one: Engine) -> None:
        past = [Message("user", "one two three")]
        await one.load("any.gguf")
        await one.answer(past, {}, trims=False).result()
        assert await one.save(past, tmp_path / "state") > 0
        await one.load(one.reference, one.changed_settings)
        restored = await one.restore(tmp_path / "state")
        assert restored.tokens > 0
        done = await one.answer(past, {}, trims=False).result()
        assert done.usage.cached_tokens > 0

    using(script)


def test_a_state_that_is_refused_says_why(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("rubbish")

    async def script(one: Engine) -> None:
        await one.load("any.gguf")
        restored = await one.restore(tmp_path / "state")
        assert restored.tokens == 0
        assert "no state of this model" in restored.reason

    using(script)


def test_progress_is_there_to_be_looked_at() -> None:
    one = engine()
    one._hear(LoadProgress(0.5))
    assert one.fraction == 0.5
    assert Restored(0).reason == ""
