"""A curve of plans: more memory is never predicted worse."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.errors import BudgetError
from edgellm.plan import Budget
from edgellm.planner import UBATCH_WORTH, make_plan
from edgellm.planner.curve import CurvePoint, curve, uniform_points
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import StaticSensitivity
from edgellm.sensitivity.noise import NoiseSensitivity
from edgellm.spec import ModelSpec
from tests.support.calibrations import made_up_calibration, made_up_errors
from tests.support.specs import make_spec

TABLES = load_tables()
SPEC = make_spec(layers=4, hidden=512, ffn=1024, vocab=2048)
BUDGET = Budget(512)
SPECS = st.builds(
    make_spec,
    layers=st.integers(1, 4),
    hidden=st.sampled_from([64, 256, 576]),
    ffn=st.sampled_from([256, 768]),
    head_dim=st.sampled_from([64, 80]),
    vocab=st.sampled_from([300, 4096]),
    tied=st.booleans(),
)


def static_curve(spec: ModelSpec, steps: int = 6) -> tuple[CurvePoint, ...]:
    return curve(spec, BUDGET, TABLES, StaticSensitivity(spec, TABLES), steps)


@settings(max_examples=8, deadline=None)
@given(SPECS)
def test_a_larger_budget_is_never_predicted_worse(spec: ModelSpec) -> None:
    points = static_curve(spec)
    budgets = [point.budget_bytes for point in points]
    assert budgets == sorted(set(budgets))
    costs = [point.kl_divergence for point in points]
    assert costs == sorted(costs, reverse=True)
    assert all(point.total_bytes <= point.budget_bytes for point in points)


def test_a_point_is_no_worse_than_the_plan_for_its_budget() -> None:
    for point in static_curve(SPEC):
        made = make_plan(SPEC, Budget(512, point.budget_bytes), TABLES)
        assert made.predicted_kl_divergence is not None
        assert point.kl_divergence <= made.predicted_kl_divergence


def test_the_curve_goes_from_what_barely_fits_to_the_finest_formats() -> None:
    points = static_curve(SPEC)
    with pytest.raises(BudgetError):
        make_plan(SPEC, Budget(512, points[0].budget_bytes - 1), TABLES)
    unlimited = make_plan(SPEC, BUDGET, TABLES)
    assert points[-1].kl_divergence == pytest.approx(unlimited.predicted_kl_divergence)
    ratios = [b.budget_bytes / a.budget_bytes for a, b in pairwise(points)]
    assert ratios == pytest.approx([ratios[0]] * 5, rel=1e-4)


def test_uniform_formats_are_judged_by_the_curves_own_sensitivity() -> None:
    judge = NoiseSensitivity(SPEC, TABLES, made_up_calibration(SPEC), made_up_errors(SPEC, TABLES))
    point = uniform_points(SPEC, BUDGET, TABLES, judge, ["q4_K"])["q4_K"]
    q4_k, caches = TABLES.weight_formats["q4_K"], TABLES.kv_formats
    cost = sum(judge.cost(tensor, q4_k) for tensor in SPEC.tensors if tensor.is_matrix)
    cost += judge.caches.cost(caches[point.key_format], caches[point.value_format])
    assert point.kl_divergence == pytest.approx(cost)


def test_no_uniform_format_is_predicted_better_than_the_curve_with_as_much_memory() -> None:
    points = static_curve(SPEC, steps=8)
    for name, uniform in uniform_points(
        SPEC, BUDGET, TABLES, StaticSensitivity(SPEC, TABLES)
    ).items():
        richer = [p for p in points if p.budget_bytes >= uniform.total_bytes]
        assert richer, name
        assert richer[0].kl_divergence <= uniform.kl_divergence * UBATCH_WORTH, name
