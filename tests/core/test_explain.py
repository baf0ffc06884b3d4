"""An explanation says what a change of one choice would do to the whole plan."""

from dataclasses import replace

import pytest

from edgellm.plan import Budget, Plan, Trial
from edgellm.planner import make_plan, settle_plan
from edgellm.planner.exchange import Step
from edgellm.planner.explain import Cap, Explanation, Reason, explain
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.sensitivity.noise import NoiseSensitivity
from tests.support.calibrations import made_up_calibration, made_up_errors
from tests.support.specs import make_spec

TABLES = load_tables()
SPEC = make_spec(layers=6, hidden=512, ffn=1024, vocab=4096)
MIB = 2**20
TIGHT = Budget(512, memory_bytes=62 * MIB)
STATIC = StaticSensitivity(SPEC, TABLES)
NOISE = NoiseSensitivity(SPEC, TABLES, made_up_calibration(SPEC), made_up_errors(SPEC, TABLES))


def planned(budget: Budget, judge: Sensitivity = STATIC) -> tuple[Plan, Explanation]:
    plan = make_plan(SPEC, budget, TABLES, sensitivity=judge)
    return plan, explain(SPEC, plan, budget, TABLES, judge)


def changed(plan: Plan, new: Plan, judge: Sensitivity = STATIC) -> tuple[int, float]:
    """Memory added in bytes and nats saved by another plan, as settled anew."""
    settled = settle_plan(SPEC, new, TABLES, "edited", sensitivity=judge)
    assert settled.predicted_kl_divergence is not None
    assert plan.predicted_kl_divergence is not None
    saved = plan.predicted_kl_divergence - settled.predicted_kl_divergence
    return settled.memory.total_bytes - plan.memory.total_bytes, saved


def with_format(plan: Plan, name: str, format_name: str) -> Plan:
    rows = [replace(t, format=format_name) if t.name == name else t for t in plan.tensors]
    return replace(plan, tensors=tuple(rows))


@pytest.mark.parametrize("judge", [STATIC, NOISE], ids=["static", "noise"])
def test_each_step_is_what_the_plan_gains_when_that_tensor_alone_is_changed(
    judge: Sensitivity,
) -> None:
    plan, explanation = planned(TIGHT, judge)
    stepped = [c for c in explanation.tensors if c.finer is not None and c.coarser is not None]
    assert len(stepped) > 10
    for verdict in stepped:
        finer, coarser = verdict.finer, verdict.coarser
        assert finer is not None
        assert coarser is not None
        up = changed(plan, with_format(plan, verdict.name, finer.to), judge)
        down = changed(plan, with_format(plan, verdict.name, coarser.to), judge)
        assert up == pytest.approx((finer.bytes, finer.kl_divergence), rel=1e-6)
        assert down == pytest.approx((-coarser.bytes, -coarser.kl_divergence), rel=1e-6)


def test_the_step_of_the_caches_is_what_the_plan_gains_with_that_pair() -> None:
    plan, explanation = planned(TIGHT)
    step = explanation.kv.finer or explanation.kv.coarser
    assert step is not None
    key, value = step.to.split("/")
    new = replace(plan, kv=replace(plan.kv, key_format=key, value_format=value))
    added_bytes, saved = changed(plan, new)
    assert abs(added_bytes) == step.bytes
    assert abs(saved) == pytest.approx(step.kl_divergence)


def test_another_ubatch_frees_what_the_settled_plan_takes_less() -> None:
    plan, explanation = planned(Budget(512, memory_bytes=80 * MIB))
    smaller = explanation.ubatch.smaller
    assert smaller is not None
    freed_bytes, _ = changed(plan, replace(plan, ubatch=int(smaller.to)))
    assert freed_bytes == -smaller.bytes


def test_the_parts_add_up_to_the_prediction_and_the_costliest_comes_first() -> None:
    plan, explanation = planned(TIGHT)
    assert explanation.kl_divergence == pytest.approx(plan.predicted_kl_divergence)
    costs = [choice.kl_divergence for choice in explanation.tensors]
    assert costs == sorted(costs, reverse=True)
    document = explanation.to_json()
    shares = [row["share"] for row in (*document["tensors"], document["kv"])]
    assert sum(shares) == pytest.approx(1)


def test_a_best_plan_leaves_no_step_that_pays_and_fits() -> None:
    for mib in (62, 64, 65, 67, 69):
        _, explanation = planned(Budget(512, memory_bytes=mib * MIB))
        for verdict in explanation.tensors:
            assert verdict.reason is not Reason.OTHER
            finer = verdict.finer
            if verdict.reason is Reason.DEAR:
                assert isinstance(finer, Step)
                assert finer.nats_per_mib <= explanation.nats_per_mib


def test_ample_memory_leaves_nothing_to_buy() -> None:
    _, explanation = planned(Budget(512, memory_bytes=2**30))
    assert explanation.nats_per_mib == 0
    assert {verdict.reason for verdict in explanation.tensors} == {Reason.FINEST}


@pytest.mark.parametrize(
    ("caps", "cap"),
    [
        (Budget(512, memory_bytes=62 * MIB), Cap.MEMORY),
        (Budget(512, memory_bytes=2**30, weights_bytes=6 * MIB), Cap.WEIGHTS),
        (Budget(512, memory_bytes=2**30, target_bpw=4.0), Cap.BITS),
    ],
)
def test_the_cap_that_binds_is_named(caps: Budget, cap: Cap) -> None:
    plan, explanation = planned(caps)
    assert explanation.cap is cap
    assert 0 <= explanation.room_bytes < MIB / 8
    if cap is Cap.BITS:
        stored = {choice.name: choice.bytes for choice in plan.tensors}
        assert all(verdict.bytes == stored[verdict.name] for verdict in explanation.tensors)


def test_a_static_plan_that_measured_better_is_told() -> None:
    plan, explanation = planned(TIGHT, NOISE)
    assert not explanation.static_taken
    tried = replace(plan, trial=Trial(kl_divergence=0.2, static_kl_divergence=0.1, tokens=100))
    assert explain(SPEC, tried, TIGHT, TABLES, NOISE).static_taken
