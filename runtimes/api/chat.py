"""A conversation: owns its messages; what the model has read of them is the engine's to keep."""

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Self, TypeVar, Unpack

from edgellm.errors import EdgeLLMError, UsageError
from edgellm.events import Done, EngineFallback
from edgellm.runtimes.api.asking import AnswerOptions, conversation, generate_call
from edgellm.runtimes.api.calls import Call, Deliver
from edgellm.runtimes.api.client import AnswerCall, Client
from edgellm.runtimes.api.stream import AsyncStream, Stream
from edgellm.runtimes.messages import Message

S = TypeVar("S")

_CUT_SHORT = frozenset({"length", "context_full", "cancelled"})


class BaseChat(Generic[S]):
    """What Chat and AsyncChat share: all that needs no waiting. S: their kind of stream."""

    def __init__(
        self, client: Client, messages: Sequence[Message], when_full: str, dropped: int = 0
    ) -> None:
        conversation(messages, {}, when_full)  # an unknown policy is refused here
        self._client = client
        self._when_full = when_full
        self._messages = tuple(messages)
        self._before = self._messages  # what an answer that fails goes back to
        self._dropped = dropped  # messages that no longer fit the context
        self._options = AnswerOptions()  # of the last answer
        self._notices: list[EngineFallback] = []  # told at the beginning of the next answer
        self._answering = False
        self._call: AnswerCall | None = None  # the answer under way
        self._lock = threading.RLock()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far; an answer is in it once it has ended.

        An answer that was cut short (cancelled, too long, failed after its first words) stays,
        marked `partial`. One that failed before that is no part of it, and neither is its question.
        """
        return self._messages

    @property
    def notices(self) -> tuple[EngineFallback, ...]:
        """What the next answer will begin with telling, such as a saved state that was refused."""
        return tuple(self._notices)

    def send(self, text: str, **options: Unpack[AnswerOptions]) -> S:
        """Say something; the stream is the answer.

        Raises UsageError while an answer is under way and where a tool call waits for its result.
        An answer whose stream was left or cancelled is waited for, except under asyncio.
        """
        with self._turn():
            if open_calls := self._open_calls():
                raise UsageError(
                    f"tool call {open_calls[0]!r} has no result yet; give it with answer_tool()"
                )
            return self._answer((*self._messages, Message("user", text)), options)

    def regenerate(self, **options: Unpack[AnswerOptions]) -> S:
        """Answer the last user message again, in place of what followed it.

        options: those of the last answer where none are given.
        """
        with self._turn():
            return self._answer(self._messages[: self._last_user() + 1], options or self._options)

    def edit(self, index: int, text: str, **options: Unpack[AnswerOptions]) -> S:
        """Put another text into a user message, forget what followed, and answer.

        index: into `messages`. Raises UsageError for what is no user message.
        """
        with self._turn():
            if not 0 <= index < len(self._messages) or self._messages[index].role != "user":
                raise UsageError(f"message {index} is no user message; only those can be edited")
            edited = (*self._messages[:index], Message("user", text))
            return self._answer(edited, options or self._options, dropped=0)

    def undo(self) -> tuple[Message, ...]:
        """Take back the last user message and all that followed it; returns them."""
        with self._turn():
            self._check_idle()
            last = self._last_user()
            undone, self._messages = self._messages[last:], self._messages[:last]
            self._dropped = 0
            return undone

    def answer_tool(self, call_id: str, content: str) -> None:
        """Give the result of a tool call; after the last of them, `proceed`."""
        with self._turn():
            self._check_idle()
            if call_id not in (open_calls := self._open_calls()):
                waiting = ", ".join(open_calls) or "none"
                raise UsageError(f"no tool call {call_id!r} waits for a result; waiting: {waiting}")
            self._messages += (Message("tool", content, tool_call_id=call_id),)

    def proceed(self, **options: Unpack[AnswerOptions]) -> S:
        """Let the model go on with the results of its tools.

        options: those of the last answer where none are given. Raises UsageError when a result is
        missing or there was none.
        """
        with self._turn():
            if self._open_calls() or not self._messages or self._messages[-1].role != "tool":
                raise UsageError("proceed() comes after the result of every tool call")
            return self._answer(self._messages, options or self._options)

    def fork(self) -> Self:
        """Another conversation with the same past, which the model need not read again."""
        with self._turn():
            self._check_idle()
            return type(self)(self._client, self._messages, self._when_full, self._dropped)

    @abstractmethod
    def _stream(self, begin: Callable[[Deliver], AnswerCall]) -> S: ...

    def _await_left(self) -> None:
        """Wait for the end of an answer whose stream was left, where one may wait."""

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One change of the conversation at a time."""
        self._await_left()
        with self._lock:
            yield

    def _answer(
        self, messages: tuple[Message, ...], options: AnswerOptions, dropped: int | None = None
    ) -> S:
        self._check_idle()
        dropped = self._dropped if dropped is None else dropped
        body = generate_call(
            messages,
            self._client.info.default_sampling,
            options,
            when_full=self._when_full,
            dropped=dropped,
        )
        self._before, self._messages = self._messages, messages
        self._dropped, self._options, self._answering = dropped, options, True

        def begin(deliver: Deliver) -> AnswerCall:
            notices, self._notices = self._notices, []
            for notice in notices:
                deliver(notice)
            call = self._client.generate(body, deliver, self._settled)
            with self._lock:
                self._call = call if self._answering else None
            return call

        try:
            return self._stream(begin)
        except BaseException:
            self._messages, self._answering = self._before, False
            raise

    def _settled(self, call: AnswerCall, outcome: Done | EdgeLLMError) -> None:
        """Called on the connection's thread when the answer has ended."""
        with self._lock:
            done = outcome if isinstance(outcome, Done) else call.so_far("failed")
            self._answering, self._call = False, None
            self._dropped += call.dropped_messages
            if isinstance(outcome, EdgeLLMError) and not (done.text or done.reasoning):
                self._messages = self._before
                return
            is_partial = isinstance(outcome, EdgeLLMError) or done.stop_reason in _CUT_SHORT
            self._messages += (
                Message(
                    "assistant", done.text, done.reasoning, done.tool_calls, partial=is_partial
                ),
            )

    def _check_idle(self) -> None:
        if self._answering:
            raise UsageError("this chat is still answering; finish or leave that stream first")

    def _last_user(self) -> int:
        self._check_idle()
        for index in range(len(self._messages) - 1, -1, -1):
            if self._messages[index].role == "user":
                return index
        raise UsageError("this chat has no user message yet")

    def _open_calls(self) -> list[str]:
        """Ids of the tool calls that wait for their result."""
        answered = set[str | None]()
        for message in reversed(self._messages):
            if message.role != "tool":
                return [call.id for call in message.tool_calls if call.id not in answered]
            answered.add(message.tool_call_id)
        return []

    def _save(self, path: str | Path) -> Call[int]:
        with self._turn():
            self._check_idle()
            past = conversation(self._messages, self._options, self._when_full, self._dropped)
            return self._client.save_state(past, Path(path))

    def _restore(self, path: str | Path) -> Call[int]:
        return self._client.restore_state(Path(path), self._refused)

    def _refused(self, reason: str) -> None:
        with self._lock:
            self._notices.append(EngineFallback(f"{reason}; the conversation is read again"))


class Chat(BaseChat[Stream]):
    """A conversation with a loaded model; make it with Model.chat.

        chat = model.chat("Answer in one sentence.")
        for event in chat.send("What is a heron?", temperature=0):
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
        other = chat.fork()
        print(other.send("And an egret?").result().text)

    Several chats on one model take turns. What a conversation shares with what the model has read
    already is not read again: after an answer, an edit or a fork only what is new is.
    """

    def save_state(self, path: str | Path) -> int:
        """Write what the model has read of this conversation to a file; returns its tokens.

        0 tokens: the model has read nothing of it, and nothing was written. The messages are not
        in the file. Raises OutputError, RuntimeFailure.
        """
        return self._save(path).result()

    def restore_state(self, path: str | Path) -> int:
        """Take back what save_state() wrote; returns its tokens.

        A file of another model or set-up, or one that was changed, restores nothing: the next
        answer begins with an EngineFallback that says so and reads the conversation again.
        """
        return self._restore(path).result()

    def _await_left(self) -> None:
        call = self._call  # not under the lock, which the end of an answer needs
        if call is not None and call.cancelled:
            call.wait()

    def _stream(self, begin: Callable[[Deliver], AnswerCall]) -> Stream:
        return Stream(begin)


class AsyncChat(BaseChat[AsyncStream]):
    """Chat for asyncio: send() and its like return at once, the stream is awaited."""

    async def save_state(self, path: str | Path) -> int:
        """See Chat.save_state."""
        return await self._save(path).arrival()

    async def restore_state(self, path: str | Path) -> int:
        """See Chat.restore_state."""
        return await self._restore(path).arrival()

    def _stream(self, begin: Callable[[Deliver], AnswerCall]) -> AsyncStream:
        return AsyncStream(begin)
