"""What every engine offers: load a model, answer, say what memory it takes, give it back."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from edgellm.events import Event, MemoryUse
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.options import LoadOptions, SamplingOptions, ScoringOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EventSink = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The sink for callers who do not watch."""


def nothing_to_prepare() -> None:
    """The `on_template` of a load that nobody gets ready for."""


def nothing_to_drop() -> None:
    """The `shorter` of a prompt that may not lose anything."""


@dataclass(frozen=True, slots=True)
class Request:
    """One answer asked of an engine, which knows text and tokens but no conversations."""

    prompt: str  # special tokens written out in it mean themselves
    sampling: SamplingOptions
    grammar: str | None = None  # GBNF that the answer follows from its first token on
    logprobs: int | None = None  # how many likely tokens to report beside each one taken
    shown: tuple[str, ...] = ()  # control tokens that are text here, such as "[TOOL_CALLS]"
    # Asked each time the context is full: the prompt without its oldest turns, or None.
    shorter: Callable[[], str | None] = nothing_to_drop
    # Whether what was read waits, beside others, for a prompt that goes on from it. The next
    # prompt goes on from it anyway; what waits makes reading and writing a little slower.
    keep: bool = True


@dataclass(frozen=True, slots=True)
class Settled:
    """What an engine settled on, where the options left it a choice."""

    engine: str  # what the build uses here, which Runtime.describe() tells behind its version
    threads: int
    ubatch: int
    key_format: str
    value_format: str
    gpu_layers: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known about a model once it is in memory."""

    context: int  # tokens that prompt and answer may take together
    chat_template: str | None  # None when the model takes plain text only
    bos: str  # as text; empty where the vocabulary has none
    eos: str
    default_sampling: SamplingOptions  # what the model's makers recommend, where they did
    can_shift: bool  # whether turns can leave the context without reading the rest again
    load_s: float
    settled: Settled | None = None  # None where there was nothing to settle


class LoadedModel(Protocol):
    """A model in memory; a context manager that gives the memory back."""

    @property
    def info(self) -> ModelInfo: ...

    def tokenize(self, text: str) -> list[int]:
        """Token ids of a prompt, as generate() reads it. Raises InputError."""
        ...

    def generate(
        self, request: Request, cancel: CancelToken | None = None
    ) -> Generator[Event, None, None]:
        """Answer; what an earlier prompt shares with this one is not computed again.

        Ends with Done. Closing the iterator stops the work. One answer at a time.
        Raises InputError for a prompt that is empty or does not fit the context, UsageError for a
        grammar that is none, RuntimeFailure when the engine fails.
        """
        ...

    def embed(
        self, texts: Sequence[str], cancel: CancelToken | None = None
    ) -> "NDArray[np.float32]":
        """One vector a text, [texts, width], of length 1, pooled as the model's file says.

        Raises InputError for a text that does not fit, BudgetError, Cancelled, RuntimeFailure.
        """
        ...

    def save_state(self, prompt: str, path: Path) -> int:
        """Keep the KV cache of what this prompt shares with one that was answered.

        Returns the tokens kept, 0 when nothing is shared and nothing was written. Raises
        OutputError, IntegrityError when the model's own file was changed meanwhile, RuntimeFailure.
        """
        ...

    def restore_state(self, path: Path) -> int:
        """Take back what save_state() wrote; returns the tokens. Only this very model and set-up
        can: raises IntegrityError for a file that was changed, is another's or is damaged.
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
        on_template: Callable[[], None] = nothing_to_prepare,
    ) -> LoadedModel:
        """Load a model; `on_event` gets load.progress and engine.fallback.

        on_template: called for a model with a chat template, before its weights are read: what
        conversations need has time to get ready meanwhile.
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
