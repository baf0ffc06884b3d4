"""What `plan --curve` shows: plans over memory, uniform formats, and the user's own plan."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgellm.formats import Tables
from edgellm.plan import Budget, Plan
from edgellm.planner.curve import CurvePoint, curve, uniform_points
from edgellm.sensitivity import Sensitivity
from edgellm.spec import ModelSpec
from edgellm.units import format_bytes

YOURS = "your plan"


@dataclass(frozen=True, slots=True)
class CurveReport:
    """Predicted KL divergence against memory."""

    title: str
    points: tuple[CurvePoint, ...]  # the smallest budget first
    uniform: Mapping[str, CurvePoint]  # by format
    plan: CurvePoint  # the one asked for

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        plan: Plan,
        tables: Tables,
        judge: Sensitivity,
        on_plan: Callable[[], None] = lambda: None,
    ) -> "CurveReport":
        """on_plan: called for each of the curve's `edgellm.planner.curve.STEPS` plans."""
        budget = Budget(plan.kv.context)
        return cls(
            title=f"{spec.name}, {plan.kv.context} tokens, {judge.name} sensitivity",
            points=curve(spec, budget, tables, judge, on_plan=on_plan),
            uniform=uniform_points(spec, budget, tables, judge),
            plan=CurvePoint.of(plan),
        )

    @property
    def every(self) -> list[CurvePoint]:
        return [*self.points, *self.uniform.values(), self.plan]

    def to_json(self) -> dict[str, Any]:
        """The keys that `--curve` adds to the plan's JSON."""
        return {
            "curve": [point.to_json() for point in self.points],
            "uniform": {name: point.to_json() for name, point in self.uniform.items()},
        }

    def table_lines(self) -> Iterator[str]:
        """Every point as a row of plain text, the smallest first."""
        yield f"{'total memory':>12} {'weights':>12} {'bits':>6} {'nats/token':>10}  KV cache"
        named = [("", point) for point in self.points]
        named += [(f"{name} throughout", point) for name, point in self.uniform.items()]
        named.append((YOURS, self.plan))
        for name, point in sorted(named, key=lambda row: row[1].total_bytes):
            caches = f"{point.key_format}/{point.value_format}"
            row = (
                f"{format_bytes(point.total_bytes):>12} {format_bytes(point.weights_bytes):>12} "
                f"{point.bits_per_weight:>6.2f} {point.kl_divergence:>10.3g}  {caches:<10}  {name}"
            )
            yield row.rstrip()
