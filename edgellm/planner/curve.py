"""What more memory buys: predicted KL divergence against bytes, one plan a budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgellm.errors import BudgetError
from edgellm.formats import Tables
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, settle_plan, uniform_plan
from edgellm.sensitivity import Sensitivity
from edgellm.spec import ModelSpec

STEPS = 24
UNIFORM_FORMATS = ("q2_K", "q3_K", "q4_K", "q6_K", "q8_0")  # llama.cpp's common whole-model sizes


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One plan of the curve."""

    budget_bytes: int  # allowed for everything
    total_bytes: int  # taken by everything
    weights_bytes: int  # once loaded
    bits_per_weight: float
    kl_divergence: float  # nats per token, predicted
    key_format: str
    value_format: str

    @classmethod
    def of(cls, plan: Plan, budget_bytes: int | None = None) -> "CurvePoint":
        """budget_bytes: what the point stands for, the plan's own budget when None."""
        return cls(
            budget_bytes=plan.budget_bytes if budget_bytes is None else budget_bytes,
            total_bytes=plan.memory.total_bytes,
            weights_bytes=plan.memory.weights_bytes,
            bits_per_weight=plan.bits_per_weight,
            kl_divergence=_divergence(plan),
            key_format=plan.kv.key_format,
            value_format=plan.kv.value_format,
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def curve(
    spec: ModelSpec,
    budget: Budget,
    tables: Tables,
    sensitivity: Sensitivity,
    steps: int = STEPS,
    *,
    on_plan: Callable[[], None] = lambda: None,
) -> tuple[CurvePoint, ...]:
    """The best plan for each of at most `steps` budgets, the smallest first.

    The budgets go in equal ratios from the least memory that fits to what the finest formats take.
    A plan that a smaller budget made stands for a larger one where it is predicted better, as when
    the larger one reads prompts faster. budget: gives the context; its other caps are not kept.
    on_plan: called once a budget.
    """

    def plan(memory_bytes: int | None) -> Plan:
        caps = Budget(budget.context, memory_bytes)
        return make_plan(spec, caps, tables, sensitivity=sensitivity)

    def least_bytes() -> int:
        try:
            return plan(1).memory.total_bytes
        except BudgetError as error:
            return error.needed_bytes

    finest = _compact(spec, plan(None), tables, sensitivity)
    points: list[CurvePoint] = []
    plans: list[Plan] = []
    for budget_bytes in _ratios(least_bytes(), finest.memory.total_bytes, steps):
        fitting = [finest] if finest.memory.total_bytes <= budget_bytes else []
        plans = [min((*plans, plan(budget_bytes), *fitting), key=_divergence)]
        points.append(CurvePoint.of(plans[0], budget_bytes))
        on_plan()
    return tuple(points)


def uniform_points(
    spec: ModelSpec,
    budget: Budget,
    tables: Tables,
    sensitivity: Sensitivity,
    formats: Sequence[str] = UNIFORM_FORMATS,
) -> dict[str, CurvePoint]:
    """By format: the plan that gives it to every matrix, judged as the curve is.

    Each takes the finest caches and the least scratch, so that memory compares with the curve's.
    """
    points = {}
    for name in formats:
        plan = uniform_plan(spec, name, Budget(budget.context), tables)
        compact = _compact(spec, plan, tables, sensitivity)
        points[name] = CurvePoint.of(compact, compact.memory.total_bytes)
    return points


def _divergence(plan: Plan) -> float:
    assert plan.predicted_kl_divergence is not None
    return plan.predicted_kl_divergence


def _compact(spec: ModelSpec, plan: Plan, tables: Tables, sensitivity: Sensitivity) -> Plan:
    """A plan with the smallest ubatch, judged anew."""
    small = replace(plan, ubatch=min(tables.engines[plan.engine].ubatches))
    return settle_plan(spec, small, tables, "the finest plan", sensitivity=sensitivity)


def _ratios(least: int, most: int, steps: int) -> list[int]:
    """Whole numbers in equal ratios, both ends included; fewer where they fall together."""
    between = (round(least * (most / least) ** (i / (steps - 1))) for i in range(1, steps - 1))
    return sorted({least, max(least, most), *between})
