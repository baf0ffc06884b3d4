"""Weights, caches and time in one program: nothing that fits is left on the table."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import pytest

from edgellm.errors import BudgetError, UsageError
from edgellm.formats import KVFormat, Tables
from edgellm.memory import resident_bytes
from edgellm.plan import Budget, Plan, Preference
from edgellm.planner import SPEED_WORTH, UBATCH_WORTH, make_plan
from edgellm.planner.fitting import offered_pairs
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import MeasuredCaches, StaticCaches, StaticSensitivity
from edgellm.spec import ModelSpec
from tests.support.specs import make_spec
from tests.support.speeds import BYTES_TAKE_TIME

TABLES = load_tables()
ENGINE = TABLES.engines["llama.cpp"]
MACHINE = "x86_64"
SMALL = make_spec(
    layers=4, hidden=512, ffn=1536, heads=8, kv_heads=2, head_dim=64, vocab=4096, tied=False
)


def random_spec(rng: random.Random) -> ModelSpec:
    return make_spec(
        layers=rng.randint(1, 5),
        hidden=rng.choice([64, 96, 256, 512, 1000]),
        ffn=rng.choice([128, 256, 768, 1504]),
        heads=rng.choice([2, 4]),
        kv_heads=rng.choice([1, 2]),
        head_dim=rng.choice([16, 64, 80]),
        vocab=rng.choice([300, 4096]),
        tied=rng.random() < 0.5,
    )


def least_bytes(spec: ModelSpec, context: int) -> int:
    with pytest.raises(BudgetError) as caught:
        make_plan(spec, Budget(context, memory_bytes=1), TABLES, machine=MACHINE)
    return caught.value.needed_bytes


def tensor_steps(spec: ModelSpec, plan: Plan) -> Iterator[int]:
    """Bytes that each better format of one tensor would take more."""
    judge = StaticSensitivity(spec, TABLES)
    offered = [fmt for fmt in TABLES.weight_formats.values() if fmt.plannable]
    for tensor, choice in zip(spec.tensors, plan.tensors, strict=True):
        if not tensor.is_matrix:
            continue
        now = TABLES.weight_formats[choice.format]
        for fmt in offered:
            if fmt.needs_imatrix or not fmt.divides(tensor.shape[1]):
                continue
            if judge.cost(tensor, fmt) < judge.cost(tensor, now):
                larger, smaller = (
                    resident_bytes(spec, tensor, each, ENGINE, MACHINE) for each in (fmt, now)
                )
                yield larger - smaller


@pytest.mark.parametrize("seed", range(20))
def test_no_plan_exceeds_its_budget_or_leaves_a_tensor_step_unused(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        spec, context = random_spec(rng), rng.choice([1, 100, 512, 5000])
        least = least_bytes(spec, context)
        for _ in range(20):
            memory_bytes = least + int(rng.random() ** 3 * 12 * spec.parameters / 8)
            budget = Budget(context, memory_bytes=memory_bytes)
            plan = make_plan(spec, budget, TABLES, machine=MACHINE)
            unused = memory_bytes - plan.memory.total_bytes
            assert 0 <= unused < min(tensor_steps(spec, plan), default=inf)


def only_pair(pair: tuple[str, str]) -> Tables:
    return replace(TABLES, kv_pairs=(pair,))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.6])
def test_no_single_cache_pair_would_have_allowed_a_better_plan(share: float) -> None:
    budget = Budget(4096, memory_bytes=int(least_bytes(SMALL, 4096) * (1 + share)))
    chosen = make_plan(SMALL, budget, TABLES, machine=MACHINE).predicted_kl_divergence
    assert chosen is not None
    for key, value in offered_pairs(SMALL, TABLES, StaticCaches(SMALL, TABLES)):
        try:
            plan = make_plan(SMALL, budget, only_pair((key.name, value.name)), machine=MACHINE)
        except BudgetError:
            continue
        assert plan.predicted_kl_divergence is not None
        assert chosen <= UBATCH_WORTH * plan.predicted_kl_divergence


def paced(memory_bytes: int, **more: Any) -> Plan:
    budget = Budget(4096, memory_bytes=memory_bytes, **more)
    return make_plan(SMALL, budget, TABLES, machine=MACHINE, speed=BYTES_TAKE_TIME)


def test_a_plan_keeps_the_pace_it_was_asked_for() -> None:
    roomy = 4 * least_bytes(SMALL, 4096)
    free = paced(roomy).predicted_tokens_per_s
    assert free is not None
    plan = paced(roomy, min_tokens_per_s=1.5 * free)
    assert plan.predicted_tokens_per_s is not None
    assert plan.predicted_tokens_per_s >= 1.5 * free
    assert plan.predicted_tokens_per_s == pytest.approx(
        BYTES_TAKE_TIME.tokens_per_s(SMALL, plan), rel=1e-4
    )


def test_a_pace_that_nothing_keeps_is_refused_with_the_fastest_there_is() -> None:
    with pytest.raises(BudgetError, match="Ask for ") as caught:
        paced(4 * least_bytes(SMALL, 4096), min_tokens_per_s=1e6)
    reached = float(str(caught.value).split("Ask for ")[-1].split(",")[0])
    plan = paced(4 * least_bytes(SMALL, 4096), min_tokens_per_s=reached)
    assert plan.predicted_tokens_per_s is not None
    assert plan.predicted_tokens_per_s >= reached


@pytest.mark.parametrize("preference", ["balanced", "speed"])
def test_speed_is_bought_with_no_more_than_its_worth(preference: Preference) -> None:
    roomy = 2 * least_bytes(SMALL, 4096)
    best, hurried = paced(roomy), paced(roomy, preference=preference)
    assert best.predicted_kl_divergence is not None
    assert hurried.predicted_kl_divergence is not None
    worth = SPEED_WORTH[preference] * UBATCH_WORTH
    assert hurried.predicted_kl_divergence <= worth * best.predicted_kl_divergence
    assert (hurried.predicted_tokens_per_s or 0) > (best.predicted_tokens_per_s or 0)


@pytest.mark.parametrize("more", [{"min_tokens_per_s": 1.0}, {"preference": "speed"}])
def test_a_pace_needs_measured_speed(more: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="needs measured speed"):
        make_plan(SMALL, Budget(512, **more), TABLES, machine=MACHINE)


@dataclass(frozen=True, slots=True)
class SpoiledBy:
    """Caches of a model that loses much with one K format."""

    key: str

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        return 1.0 if key.name == self.key else (16 - key.bits_per_element) / 1e5

    def can_price(self, key: KVFormat, value: KVFormat) -> bool:
        return True


def test_full_caches_are_offered_only_to_a_model_that_needs_them() -> None:
    plain = offered_pairs(SMALL, TABLES, SpoiledBy("q4_0"))
    spoiled = offered_pairs(SMALL, TABLES, SpoiledBy("q8_0"))
    assert {fmt.name for pair in spoiled for fmt in pair} - {
        fmt.name for pair in plain for fmt in pair
    } == {"f16"}


def test_two_bit_caches_are_offered_only_where_they_were_measured() -> None:
    unmeasured = StaticCaches(SMALL, TABLES)
    measured = MeasuredCaches({("q8_0", "q2_0"): 0.01}, unmeasured)
    known = offered_pairs(SMALL, TABLES, measured)
    assert [pair for pair in known if pair not in offered_pairs(SMALL, TABLES, unmeasured)] == [
        (TABLES.kv_formats["q8_0"], TABLES.kv_formats["q2_0"])
    ]
