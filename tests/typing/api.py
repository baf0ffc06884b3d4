"""What the type checkers prove: each engine fulfils the protocol, and the API says what it returns.

Read by mypy and basedpyright (`make check`), and never run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import edgellm
from edgellm.events import Done, Event, MemoryUse
from edgellm.plan import Plan
from edgellm.runtimes.api.chat import AsyncChat, Chat
from edgellm.runtimes.api.model import AsyncModel, Model
from edgellm.runtimes.api.stream import AsyncStream, Stream
from edgellm.runtimes.connection import Connection, Service
from edgellm.runtimes.host.host import Host
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.local import LocalConnection
from edgellm.runtimes.messages import Message, Tool
from edgellm.runtimes.protocol import LoadedModel, ModelInfo, Runtime
from edgellm.runtimes.worker.connection import WorkerConnection
from edgellm.testing import FakeModel, FakeRuntime


def engines() -> tuple[Runtime, ...]:
    return (LlamaCppRuntime(), FakeRuntime())


def models(llama: LlamaCppModel, fake: FakeModel) -> tuple[LoadedModel, ...]:
    return (llama, fake)


def connections(local: LocalConnection, worker: WorkerConnection) -> tuple[Connection, ...]:
    return (local, worker)


def services(host: Host) -> Service:
    return host


def use(path: Path) -> None:
    with edgellm.load(path, memory="2GiB", context=4096, isolation="process") as model:
        assert_type(model, Model)
        assert_type(model.info, ModelInfo)
        assert_type(model.plan, Plan | None)
        assert_type(model.path, Path)
        assert_type(model.generate("text", temperature=0, stop="."), Stream)
        assert_type(model.generate([Message("user", "Hi")], when_full="shift"), Stream)
        assert_type(model.embed(["a"]), NDArray[np.float32])
        assert_type(model.count_tokens("a"), int)
        assert_type(model.memory(), MemoryUse)
        talk(model.chat("Be brief."))
    edgellm.load("any", runtime=FakeRuntime(), isolation="none").close()


def talk(chat: Chat) -> None:
    tool = Tool("now", "Says what time it is.", "{}")
    stream = chat.send("Hello", seed=1, max_tokens=8, tools=[tool], thinking=False)
    assert_type(stream, Stream)
    with stream as entered:
        assert_type(entered, Stream)
        assert_type(iter(entered), Iterator[Event])
    assert_type(stream.result(), Done)
    assert_type(stream.text, str)
    assert_type(chat.fork(), Chat)
    assert_type(chat.regenerate(), Stream)
    assert_type(chat.edit(0, "Hi", json_schema={"type": "object"}), Stream)
    assert_type(chat.undo(), tuple[Message, ...])
    assert_type(chat.messages, tuple[Message, ...])
    assert_type(chat.save_state(Path("state")), int)


async def use_async(path: Path) -> None:
    async with await edgellm.load_async(path) as model:
        assert_type(model, AsyncModel)
        assert_type(await model.embed(["a"]), NDArray[np.float32])
        chat = model.chat()
        assert_type(chat, AsyncChat)
        async with chat.send("Hello") as stream:
            assert_type(stream, AsyncStream)
            async for event in stream:
                assert_type(event, Event)
        assert_type(await stream.result(), Done)
        assert_type(chat.fork(), AsyncChat)
