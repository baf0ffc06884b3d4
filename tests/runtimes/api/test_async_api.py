"""The asyncio twins say what the others say, and a cancelled task cancels the work."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from edgellm.errors import Cancelled, RuntimeFailure
from edgellm.events import Done, Event, LoadProgress, TextDelta
from edgellm.runtimes.api.chat import AsyncChat, Chat
from edgellm.runtimes.api.model import AsyncModel
from edgellm.runtimes.api.stream import AsyncStream
from tests.support.models import fake_launch, fake_model, timeless


def run(script: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(script, 60))


async def fake(**script: Any) -> AsyncModel:
    return AsyncModel(await fake_launch(**script).open_async())


def test_the_twins_tell_the_same_events_in_the_same_order() -> None:
    def synchronous() -> list[Event]:
        with fake_model() as model:
            chat: Chat = model.chat("Be brief.")
            events = [*model.generate("one two"), *chat.send("three"), *chat.regenerate()]
            return timeless([*events, *chat.fork().send("four"), *chat.edit(1, "five")])

    async def asynchronous() -> list[Event]:
        async with await fake() as model:
            chat: AsyncChat = model.chat("Be brief.")
            events = [event async for event in model.generate("one two")]
            turns: tuple[Callable[[], AsyncStream], ...] = (
                lambda: chat.send("three"),
                lambda: chat.regenerate(),
                lambda: chat.fork().send("four"),
                lambda: chat.edit(1, "five"),
            )
            for say in turns:
                events += [event async for event in say()]
            return timeless(events)

    assert run(asynchronous()) == synchronous()


def test_the_other_methods_answer_alike() -> None:
    async def asynchronous() -> tuple[object, ...]:
        async with await fake() as model:
            vectors = await model.embed(["a", "b"])
            return await model.count_tokens("a b c"), await model.memory(), vectors.tolist()

    with fake_model() as model:
        expected = model.count_tokens("a b c"), model.memory(), model.embed(["a", "b"]).tolist()
    assert run(asynchronous()) == expected


def test_cancelling_the_task_cancels_the_answer() -> None:
    async def script() -> Done:
        async with await fake(answer=["word " * 10_000], decode_s=0.01, context=20_000) as model:
            stream = model.generate("Talk.")

            async def listen() -> None:
                async for _ in stream:
                    pass

            task = asyncio.create_task(listen())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await stream.result()

    assert run(script()).stop_reason == "cancelled"


def test_leaving_the_block_stops_the_answer() -> None:
    async def script() -> Done:
        async with await fake(answer=["word " * 10_000], decode_s=0.01, context=20_000) as model:
            async with model.chat().send("Talk.") as stream:
                async for event in stream:
                    if isinstance(event, TextDelta):
                        break
            return await stream.result()

    assert run(script()).stop_reason == "cancelled"


def test_cancelling_the_task_cancels_the_load() -> None:
    async def script() -> list[Event]:
        events: list[Event] = []
        began = asyncio.Event()

        def heard(event: Event) -> None:
            events.append(event)
            began.set()

        task = asyncio.create_task(fake_launch(load_s=1000).open_async(heard))
        await began.wait()
        task.cancel()
        with pytest.raises((asyncio.CancelledError, Cancelled)):
            await task
        return events

    assert run(script()) == [LoadProgress(0.0)]


def test_errors_are_raised_where_the_answer_is_awaited() -> None:
    async def script() -> None:
        async with await fake(answer_error=RuntimeFailure("fake", "no more")) as model:
            with pytest.raises(RuntimeFailure, match="no more"):
                async for _ in model.generate("one two"):
                    pass
            with pytest.raises(RuntimeFailure, match="no more"):
                await model.generate("one two").result()

    run(script())


def test_answers_of_one_model_run_beside_other_tasks() -> None:
    async def script() -> list[str]:
        async with await fake(decode_s=0.005) as model:
            streams = [model.generate(f"{n} two three") for n in range(3)]
            return [done.text for done in await asyncio.gather(*(s.result() for s in streams))]

    assert run(script()) == [f"{n} two three" for n in range(3)]


def test_an_event_loop_that_is_gone_cancels_the_answer() -> None:
    with fake_model(answer=["word " * 10_000], decode_s=0.01, context=20_000) as model:

        async def leave() -> Any:
            twin = AsyncModel(model._client)
            return twin.generate("Talk.")

        stream = asyncio.run(leave())
        assert stream._call.result().stop_reason == "cancelled"
