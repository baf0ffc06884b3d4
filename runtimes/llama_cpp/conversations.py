"""Cached sequences of a loaded model to files and back."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import msgspec

from edgellm.errors import IntegrityError
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.fingerprint import Origin
from edgellm.runtimes.llama_cpp.sequences import Sequences
from edgellm.runtimes.llama_cpp.shifting import shared
from edgellm.runtimes.llama_cpp.state import SequenceMemory
from edgellm.runtimes.llama_cpp.transcript import Part

Parts = tuple[Part, ...]


class Conversations:
    """Saves what one context has cached, and takes it back."""

    def __init__(
        self, context: Context, memory: SequenceMemory, sequences: Sequences, origin: Origin
    ) -> None:
        self._context = context
        self._memory = memory
        self._sequences = sequences
        self._origin = origin

    def save(self, tokens: Sequence[int], path: Path) -> int:
        """Write the cells of what these tokens share with a cached sequence.

        Returns how many those are; 0 when nothing was written. Raises OutputError, StatusError,
        IntegrityError when the model's file is no longer the one that was loaded.
        """
        from edgellm.runtimes.llama_cpp.state_file import new_state
        from edgellm.runtimes.llama_cpp.state_key import key_for_saving

        number, held, parts = self._sequences.holder(tokens)
        count = shared(held, tokens)
        if not count or not (self._memory.in_pieces or count == len(held)):
            return 0
        key = key_for_saving(self._origin.cache_dir)
        fingerprint, kept = self._origin.fingerprint(), held[:count]
        notes = msgspec.json.encode(_within(parts, count))
        with self._context.heeding(CancelToken()):
            self._memory.save(
                number, kept, lambda sizes: new_state(path, key, fingerprint, kept, notes, sizes)
            )
        return count

    def restore(self, path: Path, context_tokens: int) -> int:
        """Let the current sequence hold what was saved; returns how many tokens those are.

        Raises IntegrityError, StatusError.
        """
        from edgellm.runtimes.llama_cpp.state_file import open_state
        from edgellm.runtimes.llama_cpp.state_key import key_for_restoring

        key = key_for_restoring(self._origin.cache_dir, path)
        with open_state(path, key, self._origin.fingerprint()) as reader:
            tokens = reader.tokens
            if len(tokens) > context_tokens:
                raise IntegrityError(
                    f"{path}: holds {len(tokens)} tokens, the context {context_tokens}; load the "
                    "model with a larger context"
                )
            self._sequences.fill(
                tokens,
                msgspec.json.decode(reader.notes, type=Parts),
                lambda make_room: self._memory.restore(reader.pieces(), make_room),
            )
        return len(tokens)


def _within(parts: Parts, count: int) -> Parts:
    """The parts that begin within so many tokens: the cache lacks an answer's last one."""
    lengths = [len(part.tokens) for part in parts]
    starts = accumulate(lengths, initial=0)
    return tuple(part for part, start in zip(parts, starts, strict=False) if start < count)
