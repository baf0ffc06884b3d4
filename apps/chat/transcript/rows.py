"""Where each item of a long column begins, when only those that were seen have been laid out."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


class Rows:
    """Owns the heights of items from top to bottom: measured ones, and estimates of the others."""

    def __init__(self) -> None:
        self._heights: list[int] = []
        self._is_measured: list[bool] = []
        self._tops: list[int] = [0]  # right up to the first changed item
        self._first_changed = 0

    def __len__(self) -> int:
        return len(self._heights)

    def reset(self, estimates: Sequence[int]) -> None:
        """Begin anew with estimates of every height, in lines."""
        self._heights = list(estimates)
        self._is_measured = [False] * len(self._heights)
        self._first_changed = 0

    def append(self, estimate: int) -> None:
        self._heights.append(estimate)
        self._is_measured.append(False)
        self._first_changed = min(self._first_changed, len(self._heights) - 1)

    def take_out(self, index: int) -> None:
        del self._heights[index]
        del self._is_measured[index]
        self._first_changed = min(self._first_changed, index)

    def measure(self, index: int, height: int) -> None:
        """Note what an item really takes, in lines."""
        self._is_measured[index] = True
        if self._heights[index] != height:
            self._heights[index] = height
            self._first_changed = min(self._first_changed, index)

    def height(self, index: int) -> int:
        return self._heights[index]

    def is_measured(self, index: int) -> bool:
        return self._is_measured[index]

    def top(self, index: int) -> int:
        """The line where an item begins; that of an index beyond the last is the total."""
        return self._settled_tops()[index]

    @property
    def total(self) -> int:
        """Lines of all items together."""
        return self._settled_tops()[-1]

    def at(self, line: int) -> tuple[int, int]:
        """(the item that a line belongs to, the line within it); the nearest one for others."""
        assert self._heights, "there are items"
        tops = self._settled_tops()
        index = min(max(bisect_right(tops, line) - 1, 0), len(self._heights) - 1)
        within = min(max(line - tops[index], 0), max(self._heights[index] - 1, 0))
        return index, within

    def _settled_tops(self) -> list[int]:
        first = self._first_changed
        if first < len(self._heights) or len(self._tops) != len(self._heights) + 1:
            start = self._tops[first]
            del self._tops[first:]
            self._tops += accumulate(self._heights[first:], initial=start)
            self._first_changed = len(self._heights)
        return self._tops
