"""From a checkpoint and what the user asked for to a plan, measured where that was asked for."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.cli.planning import (
    PlanningOptions,
    check_mode,
    read_budget,
    read_plan,
    settled,
)
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.formats import Tables
from edgellm.plan import Plan
from edgellm.planner import make_plan, uniform_plan
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.spec import ModelSpec
from edgellm.store import Store


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked of a plan."""

    options: PlanningOptions
    mode: str  # of sensitivity
    text: Path | None = None  # to calibrate on
    file: Path | None = None  # a plan made before
    threads: int | None = None

    def check(self) -> None:
        """Raises UsageError for options that exclude each other, before anything slow begins."""
        check_mode(self.mode, self.text, self.options.format)


@dataclass(frozen=True, slots=True)
class Decision:
    """A plan, what judged it, and the statistics to round by where it was measured."""

    plan: Plan
    calibration: Calibration | None
    sensitivity: Sensitivity


def decide(
    request: Request, checkpoint: Checkpoint, spec: ModelSpec, tables: Tables, store: Store
) -> Decision:
    """Make the plan, or read it. Raises BudgetError, UsageError, InputError."""
    saved = None if request.file is None else read_plan(request.file)
    mode = request.mode if saved is None or saved.sensitivity == "uniform" else saved.sensitivity
    options = request.options
    measured = calibration = None
    judge: Sensitivity = StaticSensitivity(spec, tables)
    if check_mode(mode, request.text, options.format):
        from edgellm.apps.cli.measuring import measure

        measured = measure(
            mode, checkpoint, spec, tables, store, text_file=request.text, threads=request.threads
        )
        judge, calibration = measured.sensitivity, measured.calibration
    if saved is not None and request.file is not None:
        plan = settled(saved, request.file, spec, tables, judge)
        return Decision(plan, calibration, judge)
    budget = read_budget(options, spec)
    if options.format is not None:
        return Decision(uniform_plan(spec, options.format, budget, tables), None, judge)
    plan = make_plan(spec, budget, tables, sensitivity=judge)
    if measured is not None:
        from edgellm.apps.cli.trial import Contest

        contest = Contest(checkpoint, spec, tables, measured, store, request.threads)
        plan = contest.better(plan, budget)
    return Decision(plan, calibration, judge)
