"""Tries batches of each size on a loaded model: what they take, and whether they round alike.

ggml computes a batch in other kernels than a single token, as weight format, processor and size
have it; those may add up in another order. Where each logit of a batch equals, bit for bit, that
of the same token decoded by itself, one kernel did both.
"""

import hashlib
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from types import MappingProxyType
from typing import Self

from edgellm.jsonfields import Fields
from edgellm.runtimes.llama_cpp.context import Context

# Around the sizes at which ggml's kernels change: 4 rows fill a rearranged block, 8 a tile.
SIZES = (2, 3, 4, 5, 7, 8, 12, 16)
MOST_DRAFTED = SIZES[-1] - 1
LIMIT_S = 2.5
_ROUNDS = 5
_DEPTH = 32  # tokens of context in which batches are tried


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """What was found; sizes for which there was no time are missing."""

    seconds: Mapping[int, float]  # median of a batch, by size from 1 on
    exact: frozenset[int]  # sizes whose logits are bit for bit those of single tokens

    def usable(self, *, exact: bool) -> Mapping[int, float]:
        """Seconds by size, of all sizes or of those alone that round like single tokens."""
        return {
            size: seconds
            for size, seconds in self.seconds.items()
            if size == 1 or not exact or size in self.exact
        }
