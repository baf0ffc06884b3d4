"""Tries batches of each size on a loaded model: what they take, and whether they round alike.

ggml computes a batch in other kernels than a single token, as weight format, processor and size
have it; those may add up in another order. Where each logit of a batch equals, bit for bit, that
of the same token decoded by itself, one kernel did both.
"""

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from types import MappingProxyType
from typing import Any, Self

from edgellm.errors import FormatError
from edgellm.jsonfields import JsonObject
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.speculation.memory import LOGITS_ROWS

# ggml's kernels change at 4 rows, which fill a rearranged block, and at 8, which fill a tile.
SIZES = (2, 3, 4, 5, 7, 8, 12, LOGITS_ROWS)
MOST_DRAFTED = SIZES[-1] - 1
LIMIT_S = 2.5
_ROUNDS = 5
_DEPTH = 4  # tokens before those tried
ROOM = _DEPTH + SIZES[-1] + 1


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """What was found; sizes for which there was no time are missing."""

    seconds: Mapping[int, float]  # median of a batch, by size from 1 on
    exact: frozenset[int]  # sizes whose logits are bit for bit those of single tokens

    def sizes(self, *, exact: bool) -> frozenset[int]:
        """Sizes that may be used: all, or those alone that round like single tokens; and 1."""
        return (self.exact if exact else frozenset(self.seconds)) | {1}

    def joined(self, later: Self) -> Self:
        """Both trials together; where both tried a size, the later one counts."""
        tried = frozenset(later.seconds)
        seconds = MappingProxyType({**self.seconds, **later.seconds})
        return replace(self, seconds=seconds, exact=later.exact | (self.exact - tried))

    def without_exact(self) -> Self:
        return replace(self, exact=frozenset())

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": {str(size): seconds for size, seconds in self.seconds.items()},
            "exact": {str(size): size in self.exact for size in self.seconds},
        }

    @classmethod
    def from_json(cls, document: object, source: str) -> Self:
        """Read what `to_json` wrote. Raises FormatError."""
        top = JsonObject.at(source, "", document).only("seconds", "exact")
        seconds, exact = top.child("seconds"), top.child("exact").only(*map(str, (1, *SIZES)))
        found = {size: seconds.number(str(size)) for size in (1, *SIZES) if seconds.has(str(size))}
        if 0 in found.values() or 1 not in found:
            raise FormatError(source, "seconds lacks that of a single token, or one is 0")
        return cls(
            MappingProxyType(found),
            frozenset(size for size in found if size > 1 and exact.flag(str(size))),
        )


def try_batches(
    context: Context,
    n_vocab: int,
    cancel: CancelToken,
    *,
    sizes: Sequence[int] = SIZES,
    one_token: bool = False,
    limit_s: float = LIMIT_S,
    rounds: int = _ROUNDS,
    depth: int = _DEPTH,
) -> BatchTrial:
    """Decode the same tokens singly and in batches, until the time is up.

    one_token: batches of one token again and again, which in a mixture of experts all go to the
    same few: the fullest batch that an expert can meet. depth: tokens before those tried. The
    context must hold ROOM tokens, or as many more as it is deeper, and give logits of the largest
    size; it is empty afterwards. Raises StatusError.
    """
    count = depth + ROOM - _DEPTH
    spread = [(7919 * index + n_vocab // 2) % n_vocab for index in range(count)]
    tokens = [spread[0]] * count if one_token else spread
    trial = _Trial(context, n_vocab, tokens, depth, cancel)
    try:
        trial.run(sizes, limit_s, rounds)
    finally:
        context.clear()
    return trial.found()


class _Trial:
    """Samples and comparisons so far."""

    def __init__(
        self,
        context: Context,
        n_vocab: int,
        tokens: list[int],
        depth: int,
        cancel: CancelToken,
    ) -> None:
        self._context = context
        self._n_vocab = n_vocab
        self._tokens = tokens
        self._depth = depth
        self._cancel = cancel
        self._singles: list[float] = []  # seconds
        # By size: seconds of a batch over those of the single token after it, since the machine
        # may be faster or slower from one moment to the next.
        self._ratios: dict[int, list[float]] = {}
        self._differs: set[int] = set()
        self._single: list[bytes] = []  # digests of each token's logits when decoded by itself

    def run(self, sizes: Sequence[int], limit_s: float, rounds: int) -> None:
        until = perf_counter() + limit_s
        self._context.clear()
        for start in range(0, self._depth, self._context.ubatch):
            piece = self._tokens[start : min(start + self._context.ubatch, self._depth)]
            self._context.decode(piece)
        for place in range(self._depth, len(self._tokens)):
            digests, seconds = self._decode(place, 1)
            self._single += digests
            self._singles.append(seconds)
        for done in range(rounds):
            for size in sizes:
                if not self._has_time(size, until, first=not done):
                    return
                self._compare(size)

    def found(self) -> BatchTrial:
        if not self._singles:
            return BatchTrial(MappingProxyType({}), frozenset())
        single_s = statistics.median(self._singles)
        seconds = {1: single_s} | {
            size: single_s * statistics.median(found) for size, found in self._ratios.items()
        }
        return BatchTrial(MappingProxyType(seconds), frozenset(seconds) - self._differs - {1})

    def _has_time(self, size: int, until: float, *, first: bool) -> bool:
        """The sizes up to 4 are tried however slow the model is."""
        if self._cancel.cancelled:
            return False
        expected_s = size * statistics.median(self._singles)
        return perf_counter() + expected_s < until or (first and size <= 4)

    def _compare(self, size: int) -> None:
        """A batch, and one token after it, which reads what the batch left in the cache."""
        self._context.cut(0, self._depth)
        digests, seconds = self._decode(self._depth, size)
        after, after_s = self._decode(self._depth + size, 1)
        if not digests or not after:
            return
        self._singles.append(after_s)
        self._ratios.setdefault(size, []).append(seconds / after_s)
        if [*digests, *after] != self._single[: size + 1]:
            self._differs.add(size)

    def _decode(self, place: int, size: int) -> tuple[list[bytes], float]:
        """Of so many tokens from a place on, in one batch: digests of the logits, and seconds.

        None of them when it was cancelled.
        """
        began = perf_counter()
        if not self._context.decode(self._tokens[place : place + size], range(size)):
            return [], 0.0
        rows = self._context.raw_logits(self._n_vocab, size)
        seconds = perf_counter() - began
        return [hashlib.blake2b(row, digest_size=16).digest() for row in rows], seconds
