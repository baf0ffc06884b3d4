"""From a checkpoint and what the user asked for to a plan, measured where that was asked for."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.cli.planning import PlanningOptions, check_mode, plan_for, read_plan, settled
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.formats import Tables
from edgellm.plan import Plan
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
    """A plan, and the statistics to round by where it was measured."""

    plan: Plan
    calibration: Calibration | None


def decide(
    request: Request, checkpoint: Checkpoint, spec: ModelSpec, tables: Tables, store: Store
) -> Decision:
    """Make the plan, or read it. Raises BudgetError, UsageError, InputError."""
    saved = None if request.file is None else read_plan(request.file)
    mode = request.mode if saved is None or saved.sensitivity == "uniform" else saved.sensitivity
    sensitivity = calibration = None
    if check_mode(mode, request.text, request.options.format):
        from edgellm.apps.cli.measuring import measure

        measured = measure(
            mode, checkpoint, spec, tables, store, text_file=request.text, threads=request.threads
        )
        sensitivity, calibration = measured.sensitivity, measured.calibration
    if saved is None or request.file is None:
        plan = plan_for(spec, request.options, tables, sensitivity)
    else:
        plan = settled(saved, request.file, spec, tables, sensitivity)
    return Decision(plan, calibration)
