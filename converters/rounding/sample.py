"""Which rows of a large matrix stand for all of them, and how much each one counts."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.errors import InputError
from edgellm.spec import TensorSpec

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]
Rows = NDArray[np.intp]

# Matrices up to this many weights are measured whole; of larger ones, rows of about as many.
EXACT_WEIGHTS = 1 << 18
_LEAST_ROWS = 64


@dataclass(frozen=True, slots=True)
class RowSample:
    """Some rows of a matrix: the sum of `stands_for` times a figure estimates its sum over all."""

    at: Rows  # ascending: [sampled]
    stands_for: F64Array  # rows of the matrix, one over the chance to be drawn: [sampled]

    def mean(self, figures: F64Array, weights: F32Array | None = None) -> float:
        """Mean over all rows of a figure known of the sampled ones.

        figures: [sampled]. weights: of all rows: [rows]; all alike when None.
        """
        counted = self.stands_for if weights is None else self.stands_for * weights[self.at]
        total = float(counted.sum())
        return float(figures @ counted) / total if total else 0.0


def sample_rows(tensor: TensorSpec, calibration: Calibration) -> RowSample:
    """The sample of a matrix, the same every time.

    Where its outputs count unlike (those of a head by p (1 - p): few rows carry most), half of the
    chance goes by weight and half to all rows alike, since a lookup reads them alike. So neither of
    the two sums has more than twice the variance of a sample drawn for it alone.
    Raises InputError for output weights of another model.
    """
    rows, count = tensor.shape[0], sampled_rows(tensor)
    weights = calibration.output_weights.get(tensor.name)
    if weights is not None and weights.shape != (rows,):
        raise InputError(
            f"the calibration's output weights of {tensor.name}: {weights.size} rows; "
            f"expected {rows}"
        )
    if count == rows:
        return RowSample(np.arange(rows), np.ones(rows))
    seed = hashlib.sha256(tensor.name.encode()).digest()
    random = np.random.default_rng(np.frombuffer(seed, np.uint32))
    if weights is None:
        at = np.sort(random.choice(rows, count, replace=False))
        return RowSample(at, np.full(count, rows / count))
    chances = _chances(1 + weights.astype(np.float64) / (weights.mean() or 1), count)
    at = np.sort(_draw(chances, count, random))
    return RowSample(at, 1 / chances[at])


def sampled_rows(tensor: TensorSpec) -> int:
    """How many rows of a matrix are measured."""
    rows, columns = tensor.shape
    return min(rows, max(_LEAST_ROWS, EXACT_WEIGHTS // columns))


def _chances(shares: F64Array, count: int) -> F64Array:
    """Of each row to be among `count`: in proportion to its share, but 1 at most."""
    certain = np.zeros(len(shares), dtype=np.bool_)
    while True:
        left = (count - certain.sum()) / shares[~certain].sum()
        chances: F64Array = np.where(certain, 1.0, left * shares)
        if chances.max() <= 1:
            return chances
        certain |= chances > 1


def _draw(chances: F64Array, count: int, random: np.random.Generator) -> Rows:
    """Rows at equal steps along their summed chances, in random order; none twice."""
    order = random.permutation(len(chances))
    ends = np.cumsum(chances[order])
    ends[-1] = count  # rounding must not lose the last step
    return order[np.searchsorted(ends, random.random() + np.arange(count), side="right")]
