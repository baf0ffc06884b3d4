"""What `plan` shows beside the plan itself: why it is so, and what more memory would buy."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgellm.apps.cli.progress_sinks import counted_progress
from edgellm.errors import UsageError
from edgellm.units import parse_size

if TYPE_CHECKING:
    from edgellm.apps.cli.curve_report import CurveReport
    from edgellm.apps.cli.deciding import Decision, Request
    from edgellm.formats import Tables
    from edgellm.planner.explain import Explanation
    from edgellm.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class AskedViews:
    """Which views the user asked for."""

    explain: bool
    curve: bool
    curve_file: Path | None

    def check(self, format_name: str | None) -> None:
        """Raises UsageError, OutputError, before anything slow begins."""
        if self.explain and format_name is not None:
            raise UsageError("--format already decides every tensor; drop --explain")
        if self.curve and format_name is not None:
            raise UsageError("--curve compares mixes of formats; drop --format")
        if self.curve_file is not None:
            if format_name is not None:
                raise UsageError("--curve-file compares mixes of formats; drop --format")
            from edgellm.apps.cli.curve_picture import check_curve_file

            check_curve_file(self.curve_file)

    def made(
        self, request: "Request", decision: "Decision", spec: "ModelSpec", tables: "Tables"
    ) -> "Views":
        """The views of a plan. Raises OutputError where the curve's file cannot be written."""
        explanation = _explained(request, decision, spec, tables) if self.explain else None
        report = None
        if self.curve or self.curve_file is not None:
            report = _curve(decision, spec, tables)
        if report is not None and self.curve_file is not None:
            from edgellm.apps.cli.curve_picture import write_curve

            write_curve(report, self.curve_file)
        return Views(explanation, report if self.curve else None)


@dataclass(frozen=True, slots=True)
class Views:
    """The views of one plan, each None where it was not asked for."""

    explanation: "Explanation | None"
    curve: "CurveReport | None"

    def to_json(self) -> dict[str, Any]:
        """Keys that join the plan's."""
        explained = {} if self.explanation is None else {"explain": self.explanation.to_json()}
        return {**explained, **({} if self.curve is None else self.curve.to_json())}

    def lines(self, spec: "ModelSpec") -> Iterator[str]:
        """The views for people; a drawing needs a terminal, a pipe gets its numbers."""
        from edgellm.apps.cli.curve_drawing import drawing_lines
        from edgellm.apps.cli.explaining import explanation_lines

        if self.explanation is not None:
            yield ""
            yield from explanation_lines(spec, self.explanation)
        if self.curve is not None:
            yield ""
            is_terminal = sys.stdout.isatty()
            yield from drawing_lines(self.curve) if is_terminal else self.curve.table_lines()


def _curve(decision: "Decision", spec: "ModelSpec", tables: "Tables") -> "CurveReport":
    """Measured tensors all differ, and take the planner a second for each plan of 70B models."""
    from edgellm.apps.cli.curve_report import CurveReport
    from edgellm.planner.curve import STEPS

    with counted_progress("curve", STEPS, "plans") as advance:
        judge = decision.sensitivity
        return CurveReport.of(spec, decision.plan, tables, judge, lambda: advance(1))


def _explained(
    request: "Request", decision: "Decision", spec: "ModelSpec", tables: "Tables"
) -> "Explanation":
    from edgellm.plan import Budget
    from edgellm.planner.explain import explain

    plan, options = decision.plan, request.options
    weights_bytes = parse_size(options.weights_memory) if options.weights_memory else None
    caps = Budget(plan.kv.context, plan.budget_bytes, weights_bytes, options.target_bpw)
    return explain(spec, plan, caps, tables, decision.sensitivity)
