"""Steps between options, and the rate at which nats trade for bytes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from edgellm.planner.exchange import MIB, Option, coarser_step, exchange_rate, finer_step

# Bytes in MiB, so that savings per MiB can be read off: b->c saves 4, b->d saves 3 each, c->d 2.
LADDER = [
    Option("a", 1 * MIB, 20.0),
    Option("b", 2 * MIB, 10.0),
    Option("c", 3 * MIB, 6.0),
    Option("d", 4 * MIB, 4.0),
]
MENUS = st.lists(
    st.lists(
        st.tuples(st.integers(1, 500), st.floats(0.01, 10)),
        min_size=1,
        max_size=6,
        unique_by=lambda option: option[0],
    ),
    min_size=1,
    max_size=8,
)


def test_the_finer_step_is_the_one_that_saves_the_most_per_byte() -> None:
    step = finer_step(LADDER[1], LADDER)
    assert step is not None
    assert (step.to, step.bytes, step.kl_divergence, step.nats_per_mib) == ("c", MIB, 4.0, 4.0)


def test_a_step_over_a_poor_format_goes_on_to_a_better_one() -> None:
    poor = [*LADDER[:2], Option("c", 3 * MIB, 9.9), LADDER[3]]
    step = finer_step(poor[1], poor)
    assert step is not None
    assert (step.to, step.nats_per_mib) == ("d", 3.0)


def test_the_coarser_step_is_the_one_that_costs_the_least_per_byte() -> None:
    step = coarser_step(LADDER[3], LADDER)
    assert step is not None
    assert (step.to, step.bytes, step.kl_divergence) == ("c", MIB, 2.0)


def test_the_ends_of_a_ladder_have_no_further_step() -> None:
    assert finer_step(LADDER[3], LADDER) is None
    assert coarser_step(LADDER[0], LADDER) is None


@pytest.mark.parametrize(
    ("cap_mib", "rate"), [(2, 10.0), (4, 4.0), (5, 4.0), (6, 2.0), (7.9, 2.0), (8, 0.0)]
)
def test_the_rate_is_that_of_the_first_step_without_room(cap_mib: float, rate: float) -> None:
    assert exchange_rate([LADDER, LADDER], int(cap_mib * MIB)) == rate


@settings(max_examples=60, deadline=None)
@given(MENUS, st.floats(0, 1))
def test_the_rate_is_the_multiplier_of_the_relaxed_program(
    menus: list[list[tuple[int, float]]], share: float
) -> None:
    least = sum(min(size for size, _ in menu) for menu in menus)
    most = sum(max(size for size, _ in menu) for menu in menus)
    cap = least + int(share * (most - least)) + 0.5  # between whole sizes the multiplier is unique
    owner = np.repeat(np.arange(len(menus)), [len(menu) for menu in menus])
    sizes, costs = np.array([option for menu in menus for option in menu]).T
    solved = linprog(
        costs,
        A_ub=[sizes],
        b_ub=[cap],
        A_eq=(owner == np.arange(len(menus))[:, None]).astype(float),
        b_eq=np.ones(len(menus)),
    )
    assume(solved.x is not None)
    named = [[Option(str(i), *pair) for i, pair in enumerate(menu)] for menu in menus]
    rate = exchange_rate(named, int(cap)) / MIB
    assert rate == pytest.approx(-solved.ineqlin.marginals[0], rel=1e-6, abs=1e-9)
