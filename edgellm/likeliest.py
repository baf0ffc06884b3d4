"""Predictions kept by their likeliest tokens: all that a comparison needs of a reference.

What the tokens left out were given is kept as one sum, the tail. Two tails are compared as if each
were one token; by the log-sum inequality that lowers the KL divergence, by at most the tail's
probability times the divergence inside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import InputError

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]

# Of each prediction at most. It hides little more than that share of the KL divergence, less than
# the mean's standard error: `python -m benchmarks.quality.sparse_reference TEXT`.
TAIL = 1e-3


@dataclass(frozen=True, slots=True)
class Likeliest:
    """Predictions at some positions; those of position i are entries starts[i] to starts[i + 1]."""

    starts: NDArray[np.intp]  # [positions + 1]
    tokens: NDArray[np.intp]  # likeliest first at each position: [entries]
    probabilities: F64Array  # with the tail they sum to 1 at each position: [entries]
    tails: F64Array  # probability of all other tokens: [positions]
    following: F64Array  # log-probability of the token that the text has next: [positions]

    def __len__(self) -> int:
        return len(self.tails)

    def __getitem__(self, rows: slice) -> "Likeliest":
        """Some positions; a step is not supported."""
        begin, end, _ = rows.indices(len(self))
        first, last = self.starts[begin], self.starts[end]
        return Likeliest(
            self.starts[begin : end + 1] - first,
            self.tokens[first:last],
            self.probabilities[first:last],
            self.tails[begin:end],
            self.following[begin:end],
        )

    @property
    def top(self) -> NDArray[np.intp]:
        """The likeliest token of each position."""
        return self.tokens[self.starts[:-1]]

    @property
    def positions(self) -> NDArray[np.intp]:
        """Which position each entry belongs to: [entries]."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


class Softmax:
    """Some rows of logits in float64, less each row's largest."""

    def __init__(self, logits: F32Array, whose: str) -> None:
        """Raises InputError, which names `whose`, for logits that are not finite."""
        if not np.isfinite(logits).all():
            raise InputError(f"the {whose} gives logits that are not finite; its file is damaged")
        self.top = logits.argmax(axis=1)
        self.logits = logits.astype(np.float64)
        self.logits -= self.logits.max(axis=1, keepdims=True)
        self.weights = np.exp(self.logits)
        self.total = self.weights.sum(axis=1)
        self.log_total = np.log(self.total)

    def log_probability(self, tokens: NDArray[np.intp]) -> F64Array:
        """Of one token in each row."""
        found: F64Array = self.logits[np.arange(len(tokens)), tokens] - self.log_total
        return found


def keep_likeliest(softmax: Softmax, following: NDArray[np.intp], tail: float) -> Likeliest:
    """As few tokens of each row as leave at most `tail` to the others."""
    found = [_likeliest(row, tail) for row in softmax.weights / softmax.total[:, None]]
    counts = [len(tokens) for tokens, _ in found]
    probabilities = [kept for _, kept in found]
    return Likeliest(
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
        tokens=np.concatenate([tokens for tokens, _ in found]),
        probabilities=np.concatenate(probabilities),
        tails=np.array([max(0.0, 1 - float(kept.sum())) for kept in probabilities]),
        following=softmax.log_probability(following),
    )


def _likeliest(row: F64Array, tail: float) -> tuple[NDArray[np.intp], F64Array]:
    # Tokens below this share of the tail are left out together, so only the others are sorted.
    candidates = np.flatnonzero(row > tail / len(row))
    order = candidates[np.argsort(-row[candidates], kind="stable")]
    count = np.searchsorted(np.cumsum(row[order]), 1 - tail) + 1
    tokens = order[:count]
    return tokens, row[tokens]


def divergence(reference: Likeliest, model: Softmax) -> F64Array:
    """KL(reference || model) of each position, in nats. `model` is of no use afterwards."""
    rows, tokens, p = reference.positions, reference.tokens, reference.probabilities
    log_q = model.logits[rows, tokens] - model.log_total[rows]
    terms = np.add.reduceat(p * (np.log(p) - log_q), reference.starts[:-1])
    model.weights[rows, tokens] = 0
    # A model that gives the tail nothing at all would be infinitely far away; no logit is.
    left = np.maximum(model.weights.sum(axis=1) / model.total, np.finfo(np.float64).tiny)
    tails = reference.tails
    total: F64Array = terms + tails * np.log(np.where(tails > 0, tails, 1) / left)
    return total
