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
    with independent noise (which underrates V by half). A lookup's noise follows its rows' lengths.
    """

    def __init__(self, site: Site, window: int, level: float = LEVEL) -> None:
        """window: which one runs; with the site's name it seeds the noise."""
        self._site = site
        self._level = level
        seed = (_SEED, window, zlib.crc32(site.weight.encode()))
        self._random = np.random.default_rng(seed)
        self.power = 0.0  # squared noise summed over channels, mean over tokens

    def wants(self, node: Node) -> bool:
        return self._site.is_at(node)

    def see(self, node: Node) -> None:
        outputs = node.outputs()
        if self._site.is_lookup:
            noise = _lengths(outputs)[:, None] * self._gaussian(outputs.shape)
        else:
            inputs = node.inputs()
            noise = inputs @ self._gaussian((inputs.shape[1], outputs.shape[1]))
        noise *= self._level * _root_mean_square(outputs) / (_root_mean_square(noise) or 1)
        self.power = float(np.einsum("tc,tc->", noise, noise, dtype=np.float64)) / len(noise)
        outputs += noise

    def _gaussian(self, shape: tuple[int, ...]) -> F32Array:
        return self._random.standard_normal(shape, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Reference:
    """What the undisturbed model says past the skipped positions: [positions, vocabulary]."""

    logits: F32Array
    probabilities: F32Array

    @classmethod
    def of(cls, logits: F32Array) -> "Reference":
        kept = logits[SKIPPED:].copy()
        if not np.isfinite(kept).all():
            raise RuntimeFailure("llama.cpp", "the model's logits are not finite")
        probabilities = np.empty_like(kept)
        for rows in _row_blocks(kept):
            exponentials = np.exp(kept[rows].astype(np.float64) - kept[rows].max(1, keepdims=True))
            probabilities[rows] = exponentials / exponentials.sum(axis=1, keepdims=True)
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

    def head_gain(self) -> float:
        """Divergence for each unit of squared error spread evenly over the logits.

        The second-order term, exactly: noise of variance s on each logit costs
        s / 2 (1 - sum p^2), and is vocabulary * s of squared error.
        """
        squares: F64Array = np.einsum(
            "tv,tv->t", self.probabilities, self.probabilities, dtype=np.float64
        )
        vocabulary = int(self.logits.shape[1])
        return float((1 - squares).mean()) / (2 * vocabulary)


def _root_mean_square(values: F32Array) -> np.float32:
    return np.float32(np.sqrt(np.einsum("tc,tc->", values, values, dtype=np.float64) / values.size))


def _lengths(rows: F32Array) -> F32Array:
    squares: F64Array = np.einsum("tc,tc->t", rows, rows, dtype=np.float64)
    return np.sqrt(squares).astype(np.float32)


def _row_blocks(rows: F32Array) -> list[slice]:
    return [slice(start, start + _ROWS) for start in range(0, len(rows), _ROWS)]
