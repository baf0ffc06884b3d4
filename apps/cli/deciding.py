"""From a checkpoint and what the user asked for to a plan, measured where that was asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.cli.output import note
from edgellm.apps.cli.planning import (
    PlanningOptions,
    check_mode,
    read_budget,
    read_plan,
    settled,
)
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.errors import UsageError
from edgellm.formats import Tables
from edgellm.plan import Plan
from edgellm.planner import make_plan, uniform_plan
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.spec import ModelSpec
from edgellm.store import Store

if TYPE_CHECKING:
    from edgellm.converters.calibration.imatrix import Imatrix


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked of a plan."""

    options: PlanningOptions
    mode: str  # of sensitivity
    text: Path | None = None  # to calibrate on
    file: Path | None = None  # a plan made before
    threads: int | None = None
    imatrix: Path | None = None  # input statistics that replace the measured ones
    save_imatrix: Path | None = None  # where to keep the statistics that were used

    def check(self) -> None:
        """Raises UsageError for options that exclude each other, before anything slow begins."""
        is_measured = check_mode(self.mode, self.text, self.options.format)
        if self.save_imatrix is not None and not is_measured:
            raise UsageError("--save-imatrix keeps what --sensitivity noise measures; add that")


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
    options = request.options
    sensitivity: Sensitivity | None = None
    measured = calibration = None
    statistics = None if request.imatrix is None else read_statistics(request.imatrix, spec, mode)
    if check_mode(mode, request.text, options.format):
        from edgellm.apps.cli.measuring import measure

        measured = measure(
            checkpoint,
            spec,
            tables,
            store,
            text_file=request.text,
            threads=request.threads,
            imatrix=statistics,
        )
        sensitivity, calibration = measured.sensitivity, measured.calibration
        if request.save_imatrix is not None:
            save_statistics(request.save_imatrix, calibration, spec, request.text)
    elif statistics is not None:
        calibration = Calibration(0, statistics.moments(spec), {})
        sensitivity = guided_static(spec, tables, calibration)
    if saved is not None and request.file is not None:
        plan = settled(saved, request.file, spec, tables, sensitivity)
        return Decision(plan, calibration)
    budget = read_budget(options, spec)
    if options.format is not None:
        return Decision(uniform_plan(spec, options.format, budget, tables), calibration)
    plan = make_plan(spec, budget, tables, sensitivity=sensitivity)
    if measured is not None:
        from edgellm.apps.cli.trial import Contest

        contest = Contest(checkpoint, spec, tables, measured, store, request.threads)
        plan = contest.better(plan, budget)
    return Decision(plan, calibration)


def guided_static(spec: ModelSpec, tables: Tables, calibration: Calibration) -> StaticSensitivity:
    """The static judge; formats that need statistics count when every matrix has them."""
    from edgellm.converters.rounding.moments import rounding_moments

    matrices = sum(tensor.is_matrix for tensor in spec.tensors)
    is_complete = len(rounding_moments(spec, calibration)) == matrices
    return StaticSensitivity(spec, tables, has_imatrix=is_complete)


def read_statistics(path: Path, spec: ModelSpec, mode: str) -> "Imatrix":
    """The imatrix, with a note of what it lacks. Raises InputError, also for another model."""
    from edgellm.converters.calibration.imatrix import read_imatrix

    imatrix = read_imatrix(path)
    if missing := imatrix.missing(spec):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        instead = "rounded without statistics" if mode == "static" else "measured instead"
        note(f"{path} has nothing on {missing[0]}{others}: {instead}")
    return imatrix


def save_statistics(
    path: Path, calibration: Calibration, spec: ModelSpec, text: Path | None
) -> None:
    """Write the input moments as an imatrix. Raises OutputError."""
    from edgellm.converters.calibration.calibrate import WINDOW_TOKENS
    from edgellm.converters.calibration.imatrix import imatrix_of, write_imatrix

    dataset = "edgellm's calibration text" if text is None else text.name
    write_imatrix(path, imatrix_of(calibration, spec, dataset, WINDOW_TOKENS))
    note(f"imatrix saved to {path}")
