"""What a loaded model can be asked through a connection, without waiting: every twin's one core."""

from collections.abc import Callable, Sequence
from os import fsencode
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgellm.errors import Cancelled, EdgeLLMError, IntegrityError, RuntimeFailure
from edgellm.events import ContextTrimmed, Done, Event, MemoryUse, Timings, Usage
from edgellm.runtimes.api.calls import Call, Deliver, deliver_to_nobody, settled
from edgellm.runtimes.connection import Connection
from edgellm.runtimes.protocol import ModelInfo
from edgellm.runtimes.said import Said
from edgellm.runtimes.wire import (
    Conversation,
    CountCall,
    EmbedCall,
    GenerateCall,
    Loaded,
    RestoreCall,
    SaveCall,
    Vectors,
    encode,
    received,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgellm.plan import Plan

T = TypeVar("T")


class AnswerCall(Call[Done]):
    """The call behind an answer, and what has come of the answer so far."""

    def __init__(
        self,
        engine: str,
        load_s: float,
        deliver: Deliver,
        on_settled: Callable[["AnswerCall", Done | EdgeLLMError], None],
    ) -> None:
        """on_settled: hears how it ended, before anybody who waits for it does."""
        super().__init__(engine, self._finish, self._watch)
        self._load_s = load_s
        self._sink = deliver
        self._on_settled = on_settled
        self._said = Said()
        self.dropped_messages = 0  # that left the context to make room

    @property
    def text(self) -> str:
        return self._said.text

    def so_far(self, stop_reason: str) -> Done:
        """The end of an answer whose own end never came; it knows no counts."""
        return self._said.summed_up(Done(Usage(0, 0), Timings(self._load_s, 0, 0, 0), stop_reason))

    def _watch(self, event: Event | None) -> None:
        self._said.hear(event)
        if isinstance(event, ContextTrimmed):
            self.dropped_messages += event.dropped_messages
        self._sink(event)

    def _finish(self, outcome: bytes | EdgeLLMError) -> Done:
        try:
            done = self._done(outcome)
        except EdgeLLMError as error:
            self._on_settled(self, error)
            raise
        self._on_settled(self, done)
        self._pass_on(done)
        return done

    def _done(self, outcome: bytes | EdgeLLMError) -> Done:
        if isinstance(outcome, Cancelled):
            return self.so_far("cancelled")
        return received(Done, settled(outcome), self._engine)


def watch_nothing(call: AnswerCall, outcome: Done | EdgeLLMError) -> None:
    """For answers that change nothing but themselves."""


class Client:
    """A connection to a host that has loaded a model."""

    def __init__(
        self,
        connection: Connection,
        engine: str,
        loaded: Loaded,
        path: Path,
        plan: "Plan | None" = None,
    ) -> None:
        """path: what was loaded. plan: what that was planned for."""
        self._connection = connection
        self._engine = engine
        self._loaded = loaded
        self.path = path
        self.plan = plan

    @property
    def info(self) -> ModelInfo:
        return self._loaded.info

    def generate(
        self,
        body: GenerateCall,
        deliver: Deliver,
        on_settled: Callable[[AnswerCall, Done | EdgeLLMError], None] = watch_nothing,
    ) -> AnswerCall:
        call = AnswerCall(self._engine, self.info.load_s, deliver, on_settled)
        return call.begin(self._connection, "generate", encode(body))

    def count_tokens(self, prompt: str | Conversation) -> Call[int]:
        return self._ask("count_tokens", CountCall(prompt), self._number)

    def embed(self, texts: Sequence[str]) -> "Call[NDArray[np.float32]]":
        return self._ask("embed", EmbedCall(tuple(texts)), self._vectors)

    def memory(self) -> Call[MemoryUse]:
        return self._ask(
            "memory", None, lambda outcome: received(MemoryUse, settled(outcome), self._engine)
        )

    def save_state(self, conversation: Conversation, path: Path) -> Call[int]:
        return self._ask("save_state", SaveCall(conversation, _absolute(path)), self._number)

    def restore_state(self, path: Path, on_refusal: Callable[[str], None]) -> Call[int]:
        """Restores nothing where the file is refused; `on_refusal` hears why."""

        def settle(outcome: bytes | EdgeLLMError) -> int:
            if isinstance(outcome, IntegrityError):
                on_refusal(str(outcome))
                return 0
            return self._number(outcome)

        return self._ask("restore_state", RestoreCall(_absolute(path)), settle)

    def close(self) -> None:
        self._connection.close()

    def _ask(
        self, method: str, body: object, settle: Callable[[bytes | EdgeLLMError], T]
    ) -> Call[T]:
        call = Call(self._engine, settle, deliver_to_nobody)
        return call.begin(self._connection, method, encode(body))

    def _number(self, outcome: bytes | EdgeLLMError) -> int:
        return received(int, settled(outcome), self._engine)

    def _vectors(self, outcome: bytes | EdgeLLMError) -> "NDArray[np.float32]":
        import numpy as np

        vectors = received(Vectors, settled(outcome), self._engine)
        if len(vectors.values) != 4 * vectors.count * vectors.width:
            raise RuntimeFailure(self._engine, "its process sent vectors of another size")
        values = np.frombuffer(vectors.values, "<f4").reshape(vectors.count, vectors.width)
        return values.astype(np.float32)


def _absolute(path: Path) -> bytes:
    return fsencode(path.absolute())
