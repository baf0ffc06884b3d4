"""Where the tokens of an answer come from: one by one, or several at a time."""

from collections.abc import Sequence
from typing import Protocol

from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.llama_cpp.sequences import CachedSequence


class Decoder(Protocol):
    """Continues one sequence, whose prompt has just been read."""

    @property
    def drafted(self) -> int:
        """Tokens guessed so far, to be checked several in one batch."""
        ...

    @property
    def accepted(self) -> int:
        """Of those, the ones that turned out right."""
        ...

    def next(self) -> Sequence[int]:
        """The next tokens of the answer, at least one; empty when the work was cancelled.

        Afterwards the sequence holds all of the answer but the last of these tokens, which opens
        the next batch. Never called when the sequence has no room for one more token.
        """
        ...

    def row(self, index: int) -> int:
        """Which row of the last batch's logits the token of that index was taken from."""
        ...


class PlainDecoder:
    """One token a batch."""

    drafted = accepted = 0

    def __init__(self, context: Context, sequence: CachedSequence, sampler: Sampler) -> None:
        self._context = context
        self._sequence = sequence
        self._sampler = sampler
        self._pending: int | None = None  # sampled, not yet in the sequence

    def next(self) -> Sequence[int]:
        """See Decoder.next."""
        if self._pending is not None and not self._sequence.append_one(self._pending):
            return ()
        self._pending = self._sampler.sample(self._context)
        return (self._pending,)

    def row(self, index: int) -> int:
        """See Decoder.row."""
        return -1
