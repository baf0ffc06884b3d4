"""An engine that runs no model: scripted answers, for the tests of whatever uses one."""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from edgellm.closing import Closing
from edgellm.errors import (
    Cancelled,
    EdgeLLMError,
    InputError,
    IntegrityError,
    RuntimeFailure,
    UnsupportedError,
)
from edgellm.events import (
    ContextFull,
    ContextTrimmed,
    Done,
    Event,
    LoadProgress,
    MemoryUse,
    PrefillProgress,
    TextDelta,
    Timings,
    Usage,
)
from edgellm.files import write_file
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.options import LoadOptions, SamplingOptions, ScoringOptions
from edgellm.runtimes.protocol import (
    EventSink,
    ModelInfo,
    Request,
    Scorer,
    ignore_events,
    nothing_to_prepare,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
MEMORY = MemoryUse(3 << 20, 2 << 20, 1 << 20, 8 << 20)
_TOKEN = re.compile(r"<\w+>|\s*[^\s<]+|\s+|<")
_STATE_MAGIC = "fake state\n"


def echo(prompt: str) -> str:
    """Answer with what was said last."""
    said = re.split(r"<(?:user|tool)>", prompt)[-1]
    return re.sub(r"<\w+>", "", said)


@dataclass(frozen=True)
class FakeRuntime:
    """An engine for tests: words are its tokens, and it says what it is told to.

        runtime = FakeRuntime(answer=["Hello there.", "Goodbye."])
        with edgellm.load("any.gguf", runtime=runtime, isolation="none") as model:
            assert model.chat().send("Hi").result().text == "Hello there."

    It reads no file. A prompt's beginning that an earlier prompt or answer had as well counts as
    cached, as with a real engine.
    """

    # What it says: one text after the other, the last one for ever; or a function of the prompt.
    answer: Sequence[str] | Callable[[str], str] = echo
    context: int = 512  # tokens
    chat_template: str | None = CHAT_TEMPLATE
    load_s: float = 0.0  # time that loading takes; it can be cancelled
    prefill_s: float = 0.0  # time for each token of a prompt that is not cached
    decode_s: float = 0.0  # time for each token of an answer
    load_error: EdgeLLMError | None = None  # raised by load()
    answer_error: EdgeLLMError | None = None  # raised by an answer, after its first token
    memory: MemoryUse = MEMORY
    name: str = "fake"

    def describe(self) -> str:
        """See edgellm.runtimes.protocol.Runtime.describe."""
        return "a stand-in that runs no model"

    def load(
        self,
        path: Path,
        options: LoadOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
        on_template: Callable[[], None] = nothing_to_prepare,
    ) -> "FakeModel":
        """See edgellm.runtimes.protocol.Runtime.load."""
        cancel = cancel or CancelToken()
        if self.chat_template is not None:
            on_template()
        on_event(LoadProgress(0.0))
        if not _rest(self.load_s, cancel):
            raise Cancelled(f"loading {path} was cancelled")
        if self.load_error is not None:
            raise self.load_error
        on_event(LoadProgress(1.0))
        return FakeModel(self, min(options.context or self.context, self.context))

    def open_scorer(
        self,
        path: Path,
        options: ScoringOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> Scorer:
        """Raises UnsupportedError: there are no predictions to judge."""
        raise UnsupportedError("the fake engine predicts nothing that could be judged")


class FakeModel(Closing):
    """What FakeRuntime loads."""

    def __init__(self, runtime: FakeRuntime, context: int) -> None:
        self._runtime = runtime
        self._info = ModelInfo(
            context=context,
            chat_template=runtime.chat_template,
            bos="",
            eos="<end>",
            default_sampling=SamplingOptions(),
            can_shift=True,
            load_s=runtime.load_s,
        )
        self._read: list[list[str]] = []  # token texts of prompts with their answers
        self._answers = 0
        self._closed = False

    @property
    def info(self) -> ModelInfo:
        return self._info

    def tokenize(self, text: str) -> list[int]:
        """See edgellm.runtimes.protocol.LoadedModel.tokenize."""
        return [sum(word.encode()) for word in words(text)]

    def generate(
        self, request: Request, cancel: CancelToken | None = None
    ) -> Generator[Event, None, None]:
        """See edgellm.runtimes.protocol.LoadedModel.generate."""
        if self._closed:
            raise RuntimeFailure(self._runtime.name, "the model has been closed")
        return self._generate(request, cancel or CancelToken())

    def embed(
        self, texts: Sequence[str], cancel: CancelToken | None = None
    ) -> "NDArray[np.float32]":
        """Vectors of width 8 in which equal texts are equal."""
        import numpy as np

        rows = np.array([[len(text) + 1, *text.encode()[:7].ljust(7)] for text in texts])
        lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        vectors: NDArray[np.float32] = (rows / lengths).astype(np.float32)
        return vectors

    def save_state(self, prompt: str, path: Path) -> int:
        """See edgellm.runtimes.protocol.LoadedModel.save_state."""
        shared = self._shared(words(prompt))
        if shared:
            text = "".join(words(prompt)[:shared])
            write_file(path, f"{_STATE_MAGIC}{text}".encode())
        return shared

    def restore_state(self, path: Path) -> int:
        """See edgellm.runtimes.protocol.LoadedModel.restore_state."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        if not text.startswith(_STATE_MAGIC):
            raise IntegrityError(f"{path}: no state of this model")
        self._read.append(words(text.removeprefix(_STATE_MAGIC)))
        return len(self._read[-1])

    def memory(self) -> MemoryUse:
        return self._runtime.memory

    def close(self) -> None:
        self._closed = True

    def _generate(self, request: Request, cancel: CancelToken) -> Generator[Event, None, None]:
        began = perf_counter()
        prompt = words(request.prompt)
        if len(prompt) > self._info.context:
            yield ContextFull(len(prompt), self._info.context)
            raise InputError(
                f"the prompt has {len(prompt)} tokens, the context holds {self._info.context}; "
                f"shorten it or load with a larger context"
            )
        answering = _Answering(self._runtime, request, prompt, self._info.context, cancel)
        shared = min(self._shared(prompt), len(prompt) - 1)
        yield from answering.prefill(shared)
        prefill_s = perf_counter() - began
        if not answering.reason:
            yield from answering.decode(self._next_answer(request.prompt))
        self._read.append(prompt[: answering.prefilled] + answering.said)
        timings = Timings(self._runtime.load_s, prefill_s, perf_counter() - began - prefill_s, 0)
        usage = Usage(len(prompt), len(answering.said), shared)
        yield Done(usage, timings, answering.reason, "".join(answering.said))

    def _next_answer(self, prompt: str) -> str:
        answer, number = self._runtime.answer, self._answers
        self._answers += 1
        return answer(prompt) if callable(answer) else answer[min(number, len(answer) - 1)]

    def _shared(self, prompt: list[str]) -> int:
        """Tokens of the longest beginning that was read before."""
        return max((_common(read, prompt) for read in self._read), default=0)


class _Answering:
    """One answer of a FakeModel."""

    def __init__(
        self,
        runtime: FakeRuntime,
        request: Request,
        prompt: list[str],
        context: int,
        cancel: CancelToken,
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._prompt = prompt
        self._context = context
        self._used = len(prompt)
        self._cancel = cancel
        self.prefilled = 0
        self.said: list[str] = []
        self.reason = ""

    def prefill(self, shared: int) -> Generator[Event, None, None]:
        total = len(self._prompt)
        self.prefilled = shared
        yield PrefillProgress(shared, shared, total)
        while self.prefilled < total:
            if not _rest(self._runtime.prefill_s, self._cancel):
                self.reason = "cancelled"
                return
            self.prefilled += 1
        yield PrefillProgress(shared, total, total)

    def decode(self, answer: str) -> Generator[Event, None, None]:
        for word in words(answer):
            if not _rest(self._runtime.decode_s, self._cancel):
                self.reason = "cancelled"
                return
            if self._used == self._context and not (yield from self._made_room()):
                yield ContextFull(self._used, self._context)
                self.reason = "context_full"
                return
            self.said.append(word)
            self._used += 1
            yield TextDelta(word)
            if self._runtime.answer_error is not None:
                raise self._runtime.answer_error
            if len(self.said) == self._request.sampling.max_tokens:
                self.reason = "length"
                return
        self.reason = "end"

    def _made_room(self) -> Generator[Event, None, bool]:
        shorter = self._request.shorter()
        if shorter is None:
            return False
        dropped = len(self._prompt) - len(words(shorter))
        self._prompt = words(shorter)
        self._used -= dropped
        yield ContextTrimmed(0, dropped, self._used, self._context)
        return True


def words(text: str) -> list[str]:
    """The tokens of the fake engine, as text; together they are the text."""
    return _TOKEN.findall(text)


def _common(some: list[str], others: list[str]) -> int:
    """Length of the beginning that both share."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(some), len(others)))


def _rest(seconds: float, cancel: CancelToken) -> bool:
    """Wait so long; False, and at once, when cancelled."""
    until = perf_counter() + seconds
    while not cancel.cancelled and (left := until - perf_counter()) > 0:
        sleep(min(left, 0.01))
    return not cancel.cancelled
