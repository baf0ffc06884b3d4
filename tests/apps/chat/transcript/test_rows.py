"""Where items begin, compared with plain sums."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edgellm.apps.chat.transcript.rows import Rows

heights = st.integers(0, 9)
chosen = st.integers(0, 1 << 16)  # an item, by the remainder


class RowsBesideSums(RuleBasedStateMachine):
    """Does the same with Rows and with a list of heights."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = Rows()
        self.heights: list[int] = []
        self.measured: list[bool] = []

    @initialize(estimates=st.lists(heights, max_size=8))
    def reset(self, estimates: list[int]) -> None:
        self.again(estimates)

    @rule(estimates=st.lists(heights, max_size=8))
    def again(self, estimates: list[int]) -> None:
        self.rows.reset(estimates)
        self.heights, self.measured = estimates.copy(), [False] * len(estimates)

    @rule(estimate=heights)
    def append(self, estimate: int) -> None:
        self.rows.append(estimate)
        self.heights.append(estimate)
        self.measured.append(False)

    @precondition(lambda self: self.heights)
    @rule(item=chosen, height=heights)
    def measure(self, item: int, height: int) -> None:
        index = item % len(self.heights)
        self.rows.measure(index, height)
        self.heights[index], self.measured[index] = height, True

    @precondition(lambda self: self.heights)
    @rule(item=chosen)
    def take_out(self, item: int) -> None:
        index = item % len(self.heights)
        self.rows.take_out(index)
        del self.heights[index], self.measured[index]

    @precondition(lambda self: self.heights)
    @rule(item=chosen)
    def look_at_one(self, item: int) -> None:
        index = item % len(self.heights)
        assert self.rows.top(index) == sum(self.heights[:index])

    @rule()
    def look_at_all(self) -> None:
        assert len(self.rows) == len(self.heights)
        assert self.rows.total == sum(self.heights) == self.rows.top(len(self.heights))
        for line, place in enumerate(self._places()):
            assert self.rows.at(line) == place

    @invariant()
    def knows_each_item(self) -> None:
        assert [self.rows.height(index) for index in range(len(self.rows))] == self.heights
        assert [self.rows.is_measured(i) for i in range(len(self.rows))] == self.measured

    def _places(self) -> list[tuple[int, int]]:
        return [(index, line) for index, rows in enumerate(self.heights) for line in range(rows)]


TestRows = RowsBesideSums.TestCase
TestRows.settings = settings(deadline=None)


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1), st.integers(-99, 99))
def test_a_line_outside_belongs_to_the_nearest_item(given_heights: list[int], line: int) -> None:
    rows = Rows()
    rows.reset(given_heights)
    inside = min(max(line, 0), sum(given_heights) - 1)
    assert rows.at(line) == rows.at(inside)
