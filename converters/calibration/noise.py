"""How much the model's answer moves when one matrix's outputs do."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgellm.converters.calibration.graph import F32Array, Node
from edgellm.converters.calibration.sites import Site
from edgellm.errors import RuntimeFailure

F64Array = NDArray[np.float64]

LEVEL = 0.03  # noise against the outputs' own RMS: far above rounding, still second order
SKIPPED = 32  # first positions of a window, whose context is too short to say much
_SEED = 2026
_ROWS = 16  # positions compared at a time, in float64


class OutputNoise:
    """Adds the outputs of a Gaussian matrix to those of one site, as rounded weights would.

    Errors of alike tokens are alike then, and attention does not average them away, as it does
    with independent noise (which underrates V by half). The matrix's rows are as long in proportion
    as those of the weights, since block formats err in proportion; rows of one length underrate the
    first layers' Q, K and V by a third to a half.
    """

    def __init__(self, site: Site, window: int, lengths: F32Array, level: float = LEVEL) -> None:
        """window: which one runs; with the site's name it seeds the noise.

        lengths: of the matrix's rows, in any unit: [rows].
        """
        self._site = site
        self._lengths = lengths
        self._level = level
        seed = (_SEED, window, zlib.crc32(site.weight.encode()))
        self._random = np.random.default_rng(seed)
        # Squared noise summed over channels: mean over tokens, or over all rows of a lookup.
        self.power = 0.0

    def wants(self, node: Node) -> bool:
        return self._site.is_at(node)

    def see(self, node: Node) -> None:
        outputs = node.outputs()
        noise = self._lookup_noise(outputs) if self._site.is_lookup else self._noise(node.inputs())
        noise *= self._level * _root_mean_square(outputs) / (_root_mean_square(noise) or 1)
        self.power = _power(noise)
        if self._site.is_lookup:
            # Common tokens' rows differ in length from the mean row, which formats are judged by.
            self.power *= _mean_square(self._lengths) / (_power(outputs) or 1)
        outputs += noise

    def _lookup_noise(self, outputs: F32Array) -> F32Array:
        """Equal for equal tokens, as an error in the table is."""
        rows, places = np.unique(outputs, axis=0, return_inverse=True)
        noise = _row_lengths(rows)[:, None] * self._gaussian(rows.shape)
        return np.take(noise, places.reshape(-1), axis=0)

    def _noise(self, inputs: F32Array) -> F32Array:
        matrix = self._gaussian((inputs.shape[1], len(self._lengths)))
        matrix *= self._lengths
        return inputs @ matrix

    def _gaussian(self, shape: tuple[int, ...]) -> F32Array:
        return self._random.standard_normal(shape, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Reference:
    """What the undisturbed model says past the skipped positions: [positions, vocabulary]."""

    logits: F32Array
    probabilities: F32Array

    @classmethod
    def of(cls, logits: F32Array) -> "Reference":
        kept = _kept(logits).copy()
        probabilities = np.empty_like(kept)
        for rows in _row_blocks(kept):
            probabilities[rows] = _probabilities(kept[rows])
        return cls(kept, probabilities)

    def divergence(self, logits: F32Array) -> float:
        """Mean KL(reference || other) over the positions, in nats.

        With d the change of the logits it is log(sum p exp(d)) - sum p d: no two large numbers are
        subtracted, so a divergence of 1e-9 keeps its digits.
        """
        total = 0.0
        for rows in _row_blocks(self.logits):
            change = logits[SKIPPED:][rows].astype(np.float64) - self.logits[rows]
            p = self.probabilities[rows]
            growth = np.einsum("tv,tv->t", p, np.expm1(change), dtype=np.float64)
            drift = np.einsum("tv,tv->t", p, change, dtype=np.float64)
            total += float((np.log1p(growth) - drift).sum())
        return total / len(self.logits)


def logit_gains(logits: F32Array) -> F64Array:
    """Divergence for each unit of squared error in each logit: [vocabulary].

    The second-order term, exactly, for errors that do not depend on each other: p (1 - p) / 2, mean
    over the positions past the skipped ones. Raises RuntimeFailure.
    """
    kept = _kept(logits)
    total: F64Array = np.zeros(kept.shape[1])
    for rows in _row_blocks(kept):
        p = _probabilities(kept[rows])
        total += (p * (1 - p)).sum(axis=0)
    return total / (2 * len(kept))


def _kept(logits: F32Array) -> F32Array:
    kept = logits[SKIPPED:]
    if not np.isfinite(kept).all():
        raise RuntimeFailure("llama.cpp", "the model's logits are not finite")
    return kept


def _probabilities(logits: F32Array) -> F64Array:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: F64Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _mean_square(values: F32Array) -> float:
    return float(np.einsum("r,r->", values, values, dtype=np.float64)) / len(values)


def _power(rows: F32Array) -> float:
    """Sum of squares over channels, mean over tokens."""
    return float(np.einsum("tc,tc->", rows, rows, dtype=np.float64)) / len(rows)


def _root_mean_square(values: F32Array) -> np.float32:
    return np.float32(np.sqrt(_power(values) / values.shape[1]))


def _row_lengths(rows: F32Array) -> F32Array:
    squares: F64Array = np.einsum("tc,tc->t", rows, rows, dtype=np.float64)
    return np.sqrt(squares).astype(np.float32)


def _row_blocks(rows: F32Array) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, len(rows), _ROWS)]
