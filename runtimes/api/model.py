"""A loaded model, wherever its engine works."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, Unpack

from edgellm.closing import AsyncClosing, Closing
from edgellm.errors import UsageError
from edgellm.events import MemoryUse
from edgellm.runtimes.api.asking import AnswerOptions, conversation, generate_call
from edgellm.runtimes.api.calls import Call, Deliver
from edgellm.runtimes.api.chat import AsyncChat, Chat
from edgellm.runtimes.api.client import AnswerCall, Client
from edgellm.runtimes.api.stream import AsyncStream, Stream
from edgellm.runtimes.messages import Message, Prompt
from edgellm.runtimes.protocol import ModelInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgellm.plan import Plan

S = TypeVar("S")
C = TypeVar("C")


class BaseModel(Generic[S, C]):
    """What Model and AsyncModel share: all that needs no waiting.

    S: their kind of stream. C: their kind of chat.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def info(self) -> ModelInfo:
        """What is known of the model: its context, its template, the sampling it likes best."""
        return self._client.info

    @property
    def path(self) -> Path:
        """The file that was loaded."""
        return self._client.path

    @property
    def plan(self) -> "Plan | None":
        """What it was planned for; None for a file without a plan."""
        return self._client.plan

    def generate(
        self, prompt: Prompt, *, when_full: str = "error", **options: Unpack[AnswerOptions]
    ) -> S:
        """Answer a text as it is, or messages through the model's chat template.

        when_full: "error" refuses a conversation that the context cannot hold, "shift" drops its
        oldest turns and says so. Raises UsageError.
        """
        defaults = self.info.default_sampling
        body = generate_call(prompt, defaults, options, when_full=when_full)
        return self._stream(lambda deliver: self._client.generate(body, deliver))

    def chat(
        self,
        system: str | None = None,
        *,
        messages: Sequence[Message] = (),
        when_full: str = "error",
    ) -> C:
        """A conversation, perhaps with a past; see `generate` for `when_full`."""
        head = () if system is None else (Message("system", system),)
        return self._chat((*head, *messages), when_full)

    def _vectors(self, texts: Sequence[str]) -> "Call[NDArray[np.float32]]":
        if isinstance(texts, str):
            raise UsageError("embed takes several texts; give [text] for one")
        return self._client.embed(texts)

    def _count(self, prompt: Prompt) -> Call[int]:
        return self._client.count_tokens(
            prompt if isinstance(prompt, str) else conversation(prompt, {})
        )

    @abstractmethod
    def _stream(self, begin: Callable[[Deliver], AnswerCall]) -> S: ...

    @abstractmethod
    def _chat(self, messages: Sequence[Message], when_full: str) -> C: ...


class Model(BaseModel[Stream, Chat], Closing):
    """A model in memory, from edgellm.load; leaving the `with` block gives the memory back.

        with edgellm.load("novelist-7m") as model:
            for event in model.generate("Once upon a time", max_tokens=64):
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)

    Its methods may be called on any thread. Calls take turns, so that one made during an answer
    waits for its end; what the model's memory is meanwhile comes with the answer's events.
    """

    def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """One vector a text, [texts, width], of length 1.

        Raises InputError for a text that does not fit the context, UsageError for a bare text,
        RuntimeFailure.
        """
        return self._vectors(texts).result()

    def count_tokens(self, prompt: Prompt) -> int:
        """Tokens of a prompt, those of the chat template included. Raises InputError."""
        return self._count(prompt).result()

    def memory(self) -> MemoryUse:
        """What it takes now, measured. Raises RuntimeFailure."""
        return self._client.memory().result()

    def close(self) -> None:
        """Stop what is running and give the memory back; calling it twice is no error."""
        self._client.close()

    def _stream(self, begin: Callable[[Deliver], AnswerCall]) -> Stream:
        return Stream(begin)

    def _chat(self, messages: Sequence[Message], when_full: str) -> Chat:
        return Chat(self._client, messages, when_full)


class AsyncModel(BaseModel[AsyncStream, AsyncChat], AsyncClosing):
    """A model in memory, from edgellm.load_async, for asyncio.

        async with await edgellm.load_async("novelist-7m") as model:
            async for event in model.generate("Once upon a time", max_tokens=64):
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)

    A task that is cancelled while it waits for one of these cancels the work as well.
    """

    async def embed(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """See Model.embed."""
        return await self._vectors(texts).arrival()

    async def count_tokens(self, prompt: Prompt) -> int:
        """See Model.count_tokens."""
        return await self._count(prompt).arrival()

    async def memory(self) -> MemoryUse:
        """See Model.memory."""
        return await self._client.memory().arrival()

    async def close(self) -> None:
        """See Model.close."""
        import asyncio

        await asyncio.to_thread(self._client.close)

    def _stream(self, begin: Callable[[Deliver], AnswerCall]) -> AsyncStream:
        return AsyncStream(begin)

    def _chat(self, messages: Sequence[Message], when_full: str) -> AsyncChat:
        return AsyncChat(self._client, messages, when_full)
