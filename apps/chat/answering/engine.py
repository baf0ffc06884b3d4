"""The model that is loaded, or on its way: one at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.chat.hearing import Hearing
from edgellm.errors import Cancelled, EdgeLLMError, RuntimeFailure
from edgellm.events import EngineFallback, Event, LoadProgress, MemoryUse

if TYPE_CHECKING:  # the chat is on the screen before any of this is imported
    from edgellm.apps.launching import LoadSettings
    from edgellm.runtimes.api.asking import AnswerOptions
    from edgellm.runtimes.api.model import AsyncModel
    from edgellm.runtimes.api.stream import AsyncStream
    from edgellm.runtimes.cancel import CancelToken
    from edgellm.runtimes.messages import Message


class State(Enum):
    """Where the engine is."""

    EMPTY = "no model"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a saved KV cache."""

    tokens: int  # 0 where it was refused
    reason: str = ""  # why it was


class Engine:
    """Owns the model; what it is doing may be looked at at any time."""

    def __init__(self, settings: "LoadSettings") -> None:
        """settings: of every load, unless a load says otherwise."""
        self.settings = settings
        self._model: AsyncModel | None = None
        self._cancel: CancelToken | None = None  # of the load under way
        self._lock = asyncio.Lock()  # one load or close at a time
        self._loads = 0  # that wait for it
        self.state = State.EMPTY
        self.reference = ""  # the model that was asked for last, as it was named
        self.hearing = Hearing()  # of finding, measuring, converting, verifying
        self.fraction: float | None = None  # of the weights that were read
        self.error: EdgeLLMError | None = None  # why there is no model
        self.notices: list[str] = []  # of the last load, for a person to read
        self.memory: MemoryUse | None = None  # measured last
        self.changed_settings: LoadSettings = {}  # of this model's load alone

    @property
    def model(self) -> "AsyncModel":
        assert self._model is not None, "asked only when ready"
        return self._model

    @property
    def is_ready(self) -> bool:
        return self.state is State.READY

    @property
    def name(self) -> str:
        """The model's name as people see it."""
        path = Path(self.reference)
        return path.parent.name if path.name == "model.gguf" else path.name or self.reference

    async def load(self, reference: str, changed: "LoadSettings | None" = None) -> bool:
        """Load in place of what is loaded; whether that went well. `error` says why not.

        changed: settings of this load alone, and of those that repeat it.
        """
        self.stop_loading()
        async with self._first_in_line():
            return await self._load(reference, changed or {})

    @asynccontextmanager
    async def _first_in_line(self) -> AsyncIterator[None]:
        """The lock, for a load that `settled` waits for from now on."""
        self._loads += 1
        try:
            await self._lock.acquire()
        finally:
            self._loads -= 1
        try:
            yield
        finally:
            self._lock.release()

    async def _load(self, reference: str, changed: "LoadSettings") -> bool:
        self.state, self.error, self.fraction = State.LOADING, None, None
        self.hearing = Hearing()
        self.reference, self.changed_settings = reference, changed
        self.notices.clear()
        await self._unload()
        from edgellm.apps.loading import load_async
        from edgellm.runtimes.cancel import CancelToken

        cancel = self._cancel = CancelToken()
        try:
            model = await load_async(
                reference, on_event=self._hear, cancel=cancel, **self._load_settings()
            )
        except EdgeLLMError as error:
            self.error, self.state = error, State.FAILED
            return False
        finally:
            self._cancel = None
        self._model, self.state = model, State.READY
        self.memory = await model.memory()
        return True

    def _load_settings(self) -> "LoadSettings":
        settings: LoadSettings = {
            **self.settings,
            **self.changed_settings,
            "progress": self.hearing.progress,
        }
        return settings

    def stop_loading(self) -> bool:
        """Ask a load under way to end; whether there was one."""
        if self._cancel is None:
            return False
        self._cancel.cancel()
        return True

    @property
    def was_stopped(self) -> bool:
        """Whether the last load ended because somebody asked for that."""
        return isinstance(self.error, Cancelled)

    async def settled(self) -> bool:
        """Wait for a load under way, and for one that takes its place; whether there is a model."""
        async with self._lock:
            if not self._loads:
                return self.is_ready
        return await self.settled()

    async def close(self) -> None:
        """Give the model's memory back."""
        self.stop_loading()
        async with self._lock:
            self.state = State.EMPTY
            await self._unload()

    async def _unload(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            await model.close()
        self.memory = None

    def answer(
        self, messages: "Sequence[Message]", options: "AnswerOptions", *, trims: bool
    ) -> "AsyncStream":
        """Begin an answer. trims: leave out the oldest turns where they do not fit.

        A model without a chat template goes on with the text as it stands. Raises UsageError.
        """
        if self.model.info.chat_template is None:
            plain = {name: value for name, value in options.items() if name != "thinking"}
            return self.model.generate(plain_text(messages), **plain)  # type: ignore[arg-type]
        when_full = "shift" if trims else "error"
        return self.model.generate(messages, when_full=when_full, **options)

    def failed(self, error: RuntimeFailure) -> None:
        """Note that the engine has died; the next answer loads the model again."""
        self.error, self.state = error, State.FAILED

    async def count(self, prompt: "str | Sequence[Message]") -> int:
        """Tokens of a prompt; waits for an answer under way. Raises InputError, RuntimeFailure."""
        return await self.model.count_tokens(prompt)

    async def save(self, messages: "Sequence[Message]", path: Path) -> int:
        """Keep what the model has read of a conversation; returns its tokens.

        Raises OutputError, RuntimeFailure.
        """
        return await self.model.chat(messages=messages).save_state(path)

    async def restore(self, path: Path) -> Restored:
        """Take back what was kept. Raises RuntimeFailure."""
        chat = self.model.chat()
        tokens = await chat.restore_state(path)
        return Restored(tokens, "; ".join(notice.reason for notice in chat.notices))

    def _hear(self, event: Event) -> None:
        match event:
            case LoadProgress():
                self.fraction = event.fraction
            case EngineFallback():
                self.notices.append(event.reason)
            case _:
                pass


def plain_text(messages: "Sequence[Message]") -> str:
    """A conversation for a model that knows none."""
    return "\n\n".join(message.content for message in messages)
