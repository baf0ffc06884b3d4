"""The integer program against every combination there is."""

from dataclasses import asdict, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.planner import frontier
from edgellm.planner.allocation import Candidate, Limits, Menu, allocate, worthwhile
from edgellm.planner.program import Program


@st.composite
def menus(draw: st.DrawFn) -> list[Menu]:
    """Up to five tensors with up to four candidates each, some tensors alike."""
    kinds = draw(st.lists(st.lists(st.tuples(
        st.integers(1, 30), st.integers(0, 3), st.integers(0, 1000), st.integers(0, 9)
    ), min_size=1, max_size=4), min_size=1, max_size=3))  # fmt: skip
    offered = [
        worthwhile(
            [
                Candidate(
                    f"f{i}", 32 * size, 32 * (size + more), 32 * (size + more), cost / 1e5, time
                )
                for i, (size, more, cost, time) in enumerate(kind)
            ]
        )
        for kind in kinds
    ]
    return draw(st.lists(st.sampled_from(offered), min_size=1, max_size=5))


def brute_force(offered: list[Menu], limits: Limits) -> float | None:
    """The least cost of any combination within the limits."""
    costs = [
        sum(c.cost for c in choice) for choice in product(*offered) if fits(list(choice), limits)
    ]
    return min(costs, default=None)


def fits(choice: list[Candidate], limits: Limits) -> bool:
    taken = {
        field: sum(getattr(c, field) for c in choice)
        for field in ("memory_bytes", "stored_bytes", "nanoseconds")
    }
    room = asdict(limits)
    return all(room[field] is None or total <= room[field] for field, total in taken.items())


@settings(max_examples=150, deadline=None)
@given(
    menus(),
    st.builds(
        Limits,
        memory_bytes=st.none() | st.integers(0, 4000),
        stored_bytes=st.none() | st.integers(0, 4000),
        nanoseconds=st.none() | st.integers(0, 40),
    ),
)
def test_the_choice_is_the_best_of_all_that_fit(offered: list[Menu], limits: Limits) -> None:
    best = brute_force(offered, limits)
    choice = allocate(offered, limits)
    if best is None:
        assert choice is None
    else:
        assert choice is not None
        assert fits(choice, limits)
        assert sum(c.cost for c in choice) == pytest.approx(best, abs=1e-12)


def test_candidates_that_another_beats_are_dropped() -> None:
    small, large = Candidate("a", 10, 10, 10, 2.0), Candidate("b", 20, 20, 20, 1.0)
    worse, twin = Candidate("c", 20, 20, 20, 1.5), Candidate("d", 20, 20, 20, 1.0)
    assert worthwhile([worse, twin, large, small]) == (small, large)


def test_without_limits_everything_is_as_fine_as_it_can_be() -> None:
    menu = (Candidate("coarse", 1, 1, 1, 1.0), Candidate("fine", 2, 2, 2, 0.0))
    assert allocate([menu, menu], Limits()) == [menu[1], menu[1]]


def test_among_equal_tensors_the_first_are_finer() -> None:
    menu = (Candidate("coarse", 10, 10, 10, 1.0), Candidate("fine", 20, 20, 20, 0.0))
    choice = allocate([menu] * 4, Limits(memory_bytes=60))
    assert choice is not None
    assert [c.name for c in choice] == ["fine", "fine", "coarse", "coarse"]


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    sizes = [(10 + 7 * i, 20 + 11 * i, 40 + 13 * i) for i in range(60)]
    offered = [
        tuple(Candidate(f"f{j}", b, b, b, 1 / (b * (i + 1))) for j, b in enumerate(row))
        for i, row in enumerate(sizes)
    ]
    allocate(offered, Limits(memory_bytes=sum(row[1] for row in sizes) + 1))
    assert capfd.readouterr().out == ""


def random_program(seed: int, limits: int) -> Program:
    """40 groups of 8 candidates, one to three to choose from each; half the room they span."""
    random = np.random.default_rng(seed)
    groups, formats = 40, 8
    sizes = random.integers(1, 4, groups).astype(float)
    steps = random.integers(1, 60, (groups, formats)).cumsum(axis=1)
    costs = random.lognormal(0, 2, (groups, 1)) * np.exp(-steps / 40)
    weights = np.stack([steps.ravel(), (steps + random.integers(0, 9, steps.shape)).ravel()])
    return Program(
        costs=costs.ravel() * (1e6 / costs.max()),
        owner=np.repeat(np.arange(groups), formats),
        sizes=sizes,
        weights=weights[:limits].astype(float),
        rooms=np.full(limits, float((sizes * steps.mean(axis=1)).sum() // 1)),
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("states", [0, 8192])
def test_leaving_out_hopeless_candidates_does_not_change_the_least_cost(
    seed: int, states: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "_MOST_STATES", states)  # with none, branching solves it
    program = random_program(seed, limits=1 + seed % 2)
    whole, part = program._solve_whole(), program.solve()
    assert whole is not None
    assert part is not None
    assert program.costs @ part == pytest.approx(program.costs @ whole, rel=1e-9)
    assert (program.weights @ part <= program.rooms).all()


@pytest.mark.parametrize("limits", [1, 2])
def test_few_candidates_are_left_once_a_choice_is_at_hand(limits: int) -> None:
    program = random_program(0, limits)
    promising = program._promising()
    assert promising is not None
    assert promising.kept.sum() < len(program.costs) / 2


def test_a_program_that_nothing_fits_has_no_solution() -> None:
    program = replace(random_program(0, limits=1), rooms=np.zeros(1))
    assert program.solve() is None
