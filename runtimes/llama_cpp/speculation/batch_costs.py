"""What a batch of each size takes just now: a measured curve, moved by what is seen live."""

import statistics
from collections import deque
from collections.abc import Mapping

_SAMPLES = 9  # kept of each size; their median is not moved by a few disturbed ones
_ENOUGH = 3  # samples
_FRESH = 2048  # batches after which a sample no longer counts
_REFRESH = 16  # batches after which the curve is worked out again


class BatchCosts:
    """Seconds by batch size. Sizes not seen lately follow the curve of the trial, as much faster
    or slower as the sizes that were seen: the context grows, and other programs come and go.
    """

    def __init__(self, trial: Mapping[int, float]) -> None:
        """trial: seconds by size, as measured; the sizes that may be used, 1 among them."""
        self._trial = trial
        self._samples: dict[int, deque[tuple[int, float]]] = {
            size: deque(maxlen=_SAMPLES) for size in trial
        }
        self._batches = 0
        self._current: dict[int, float] | None = dict(trial)

    def observe(self, size: int, seconds: float) -> None:
        """Sizes that the trial does not know are left out."""
        if size in self._samples:
            self._samples[size].append((self._batches, seconds))
        self._batches += 1
        if self._batches % _REFRESH == 0:
            self._current = None

    def seconds(self) -> Mapping[int, float]:
        """By size, as of the last few batches."""
        if self._current is None:
            fresh = {size: self._fresh(size) for size in self._trial}
            ratios = [
                statistics.median(found) / self._trial[size]
                for size, found in fresh.items()
                if len(found) >= _ENOUGH
            ]
            pace = statistics.median(ratios or [1.0])
            self._current = {
                size: statistics.median(
                    fresh[size] if len(fresh[size]) >= _ENOUGH else [*fresh[size], pace * seconds]
                )
                for size, seconds in self._trial.items()
            }
        return self._current

    def _fresh(self, size: int) -> list[float]:
        oldest = self._batches - _FRESH
        return [seconds for when, seconds in self._samples[size] if when >= oldest]
