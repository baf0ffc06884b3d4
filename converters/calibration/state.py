"""What a calibration has found so far, and the file that keeps it across interruptions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.converters.calibration.arrays import Arrays, keep_arrays, read_arrays
from edgellm.converters.calibration.moments import F64Array
from edgellm.converters.calibration.sites import Site


@dataclass(slots=True)
class State:
    """Grows window by window; the same windows always give the same state."""

    total_windows: int = 0  # that the text has; 0 before anything was found
    windows: int = 0  # observed for the input moments
    squares: dict[str, F64Array] = field(default_factory=dict)  # sums, by llama.cpp's name
    # Sum of each logit's gain over the observed windows: [vocabulary].
    logit_gains: F64Array = field(default_factory=lambda: np.zeros(0))
    # By disturbed site, one array a window; NaN where not measured.
    gains: list[F64Array] = field(default_factory=list)

    def add_window(self, found: Mapping[str, F64Array], logit_gains: F64Array) -> None:
        for weight, squares in found.items():
            self.squares[weight] = self.squares.get(weight, 0.0) + squares
        self.logit_gains = self.logit_gains + logit_gains if self.windows else logit_gains
        self.windows += 1


@dataclass(frozen=True, slots=True)
class StateFile:
    """One NPZ file, replaced whole; a damaged one counts as absent."""

    path: Path
    sites: Sequence[Site]

    def read(self) -> State:
        """What an earlier calibration left, or nothing."""
        try:
            return self._checked(read_arrays(self.path))
        except (ValueError, TypeError, KeyError):
            return State()

    def write(self, state: State) -> None:
        """Raises OutputError."""
        gains = np.array(state.gains).reshape(len(state.gains), self._disturbed)
        squares = {f"squares/{weight}": values for weight, values in state.squares.items()}
        windows = np.array([state.total_windows, state.windows])
        known = {"windows": windows, "gains": gains, "logit_gains": state.logit_gains}
        keep_arrays(self.path, known | squares)

    @property
    def _disturbed(self) -> int:
        return sum(not site.is_head for site in self.sites)

    def _checked(self, arrays: Arrays) -> State:
        """Raises ValueError, TypeError or KeyError for anything this class does not write."""
        total, windows = map(int, arrays["windows"])
        gains = np.asarray(arrays["gains"], dtype=np.float64)
        if not 0 < windows <= total or gains.ndim != 2 or gains.shape[1] != self._disturbed:
            raise ValueError("another calibration")
        products = (site for site in self.sites if not site.is_lookup)
        squares = {s.weight: _sums(arrays[f"squares/{s.weight}"], s.columns) for s in products}
        (vocabulary,) = (site.rows for site in self.sites if site.is_head)
        logit_gains = _sums(arrays["logit_gains"], vocabulary)
        return State(total, windows, squares, logit_gains, list(gains))


def _sums(values: NDArray[np.generic], count: int) -> F64Array:
    sums = np.asarray(values, dtype=np.float64)
    if sums.shape != (count,) or not np.isfinite(sums).all() or sums.min() < 0:
        raise ValueError("not sums of what is never negative")
    return sums
