"""What every source of guesses offers."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes


class Proposer(Protocol):
    """Guesses how a text goes on. Between two calls of `begin` a text only grows."""

    @property
    def priors(self) -> Sequence[float]:
        """By class of how well founded a guess is: how likely it is right, before any was seen."""
        ...

    @property
    def token_seconds(self) -> float:
        """What guessing one token costs; 0 where that is next to nothing."""
        ...

    @property
    def buffers(self) -> BufferBytes:
        """Memory that guessing takes in the engine."""
        ...

    def answering(self, cancel: CancelToken) -> AbstractContextManager[None]:
        """Held while an answer is given, whose `cancel` stops the guessing too."""
        ...

    def close(self) -> None: ...

    def begin(self, tokens: Sequence[int]) -> None:
        """A text that shares its beginning, or nothing, with the one before."""
        ...

    def evidence(self, tokens: Sequence[int]) -> int | None:
        """The class of what could be proposed after these tokens; None when there is nothing."""
        ...

    def propose(self, tokens: Sequence[int], count: int) -> list[int]:
        """At most `count` tokens that may follow. Raises StatusError when an engine fails."""
        ...
