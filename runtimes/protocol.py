"""What every engine offers: load a model, answer, say what memory it takes, give it back."""

import math
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from edgellm.errors import UsageError
from edgellm.events import Event

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EventSink = Callable[[Event], None]
MAX_SEED = (1 << 32) - 2  # 2^32 - 1 means "any seed" to llama.cpp


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # "system", "user" or "assistant"; the model's template decides
    content: str


Prompt = str | Sequence[Message]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load a model."""

    context: int | None = None  # tokens the KV cache holds; None is DEFAULT_CONTEXT at most
    key_format: str | None = None  # rows of quant_tables/kv_formats.toml; None is q8_0 where
    value_format: str | None = None  # the model's heads divide into its blocks, else f16
    ubatch: int = 512  # prompt tokens computed at once
    threads: int | None = None  # None is one for each physical core
    gpu_layers: int = 0  # -1 is all of them

    def __post_init__(self) -> None:
        _at_least(1, context=self.context, ubatch=self.ubatch, threads=self.threads)
        _at_least(-1, gpu_layers=self.gpu_layers)


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How to pick the next token: penalty, top-k, top-p, min-p, temperature, in this order."""

    temperature: float = 0.7  # 0 always takes the likeliest token
    top_k: int = 40  # 0 keeps every token
    top_p: float = 0.95  # 1 keeps every token
    min_p: float = 0.05  # 0 keeps every token
    repeat_penalty: float = 1.1  # 1 is none
    repeat_last_n: int = 64  # tokens the penalty looks back on
    seed: int | None = None  # the same seed gives the same text; None draws one
    max_tokens: int | None = None  # None goes on until the model ends or the context is full
    stop: tuple[str, ...] = ()  # texts that end the answer and are not shown

    def __post_init__(self) -> None:
        _finite(0, math.inf, temperature=self.temperature)
        _finite(0, 1, top_p=self.top_p, min_p=self.min_p)
        _at_least(0, top_k=self.top_k, repeat_last_n=self.repeat_last_n, seed=self.seed)
        _at_least(1, max_tokens=self.max_tokens)
        if not 0 < self.repeat_penalty < math.inf:
            raise UsageError(f"repeat_penalty is {self.repeat_penalty}; expected more than 0")
        if self.seed is not None and self.seed > MAX_SEED:
            raise UsageError(f"seed is {self.seed}; expected at most {MAX_SEED}")
        if "" in self.stop:
            raise UsageError("a stop text is empty; leave it out")


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """How to load a model whose predictions are to be judged."""

    window: int  # tokens the KV cache holds
    first: int  # position in a window from which on predictions are wanted
    key_format: str = "f16"  # rows of quant_tables/kv_formats.toml; f16 shows the weights alone
    value_format: str = "f16"
    threads: int | None = None  # None is one for each physical core

    def __post_init__(self) -> None:
        _at_least(2, window=self.window)
        _at_least(1, threads=self.threads)
        if not 0 <= self.first < self.window - 1:
            raise UsageError(f"first is {self.first}; expected 0 to {self.window - 2}")

    @property
    def predictions(self) -> int:
        """Predictions of each window: the last token's is none that the window could judge."""
        return self.window - 1 - self.first


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Measured bytes, by the component names of a plan's MemoryParts."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int  # scratch for one ubatch, and the logits
    resident_bytes: int  # of the whole process, mapped weights that were touched included


class CancelToken:
    """Asks a load or an answer to stop; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` on cancel, or now if that has happened; returns how to stop."""
        with self._lock:
            self._listeners.append(listener)
            already = self._cancelled
        if already:
            listener()
        return lambda: self._listeners.remove(listener)


def ignore_events(event: Event) -> None:
    """The sink for callers who do not watch."""


class LoadedModel(Protocol):
    """A model in memory; a context manager that gives the memory back."""

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may take together."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The template for conversations; None when the model takes plain text only."""
        ...

    @property
    def default_sampling(self) -> SamplingOptions:
        """What the model's makers recommend, where they did."""
        ...

    def generate(
        self,
        prompt: Prompt,
        sampling: SamplingOptions | None = None,
        cancel: CancelToken | None = None,
    ) -> Generator[Event, None, None]:
        """Answer plain text as it is, or a conversation through the chat template.

        Ends with Done. Closing the iterator stops the work. One answer at a time.
        """
        ...

    def memory(self) -> MemoryUse: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Scorer(Protocol):
    """A model in memory that says how likely each token is; gives the memory back like a model."""

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def bos(self) -> int | None:
        """The token in front of every text; None for a model that wants none."""
        ...

    def tokens(self, text: str) -> list[int]:
        """Token ids of plain text, without a BOS; "<s>" in it is three letters."""
        ...

    def logits(self, window: Sequence[int]) -> "Iterator[NDArray[np.float32]]":
        """What the model expects after each token but the last, from position options.first on.

        window: as many tokens as asked for at loading. Yields logits, [some positions,
        vocabulary], each valid until the next. Raises Cancelled, RuntimeFailure.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Runtime(Protocol):
    """An engine. Engines do not inherit from this; tests/runtimes assigns each one to it."""

    @property
    def name(self) -> str: ...

    def describe(self) -> str:
        """The build in one line: its version, what it uses here, what it has to leave off."""
        ...

    def load(
        self,
        path: Path,
        options: LoadOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> LoadedModel:
        """Load a model; `on_event` gets load.progress and engine.fallback.

        Raises InputError for a file it cannot use, UsageError for options the model cannot take,
        Cancelled when asked to stop, RuntimeFailure when the engine fails.
        """
        ...

    def open_scorer(
        self,
        path: Path,
        options: ScoringOptions,
        on_event: EventSink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> Scorer:
        """Load a model to be judged; `cancel` also ends its scoring. Raises what load() raises."""
        ...


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and value < least:
            raise UsageError(f"{name} is {value}; expected at least {least}")


def _finite(least: float, most: float, **values: float) -> None:
    for name, value in values.items():
        if not (least <= value <= most and math.isfinite(value)):
            raise UsageError(f"{name} is {value}; expected {least} to {most}")
