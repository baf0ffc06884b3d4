"""From a checkpoint and what the user asked for to a plan, measured where that was asked for."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgellm.apps.cli.planning import (
    PlanningOptions,
    check_mode,
    default_context,
    read_budget,
    read_plan,
    settled,
)
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.errors import UsageError
from edgellm.formats import Tables
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, uniform_plan
from edgellm.sensitivity import Sensitivity, StaticCaches, StaticSensitivity
from edgellm.spec import ModelSpec
from edgellm.speed import DecodeSpeed
from edgellm.store import Store


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
    """A plan, what judged it, and the statistics to round by where there are any."""

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
    judge: Sensitivity
    calibration: Calibration | None
    measured = None
    budget = read_budget(options, spec) if saved is None else None
    if check_mode(mode, request.text, options.format):
        if budget is not None:
            check_fit(budget, spec, tables)
        from edgellm.apps.cli.measuring import measure

        context = options.context if saved is None else saved.kv.context
        measured = measure(
            mode,
            checkpoint,
            spec,
            tables,
            store,
            context=context or default_context(spec),
            text_file=request.text,
            imatrix_file=request.imatrix,
            threads=request.threads,
        )
        judge, calibration = measured.sensitivity, measured.calibration
        if request.save_imatrix is not None:
            from edgellm.apps.cli.statistics import save_statistics

            save_statistics(request.save_imatrix, calibration, spec, request.text)
    else:
        judge, calibration = table_judge(request, spec, tables)
    if saved is not None and request.file is not None:
        return Decision(settled(saved, request.file, spec, tables, judge), calibration, judge)
    assert budget is not None
    speed = decode_speed(request, spec, store) if measured or options.needs_speed else None
    if options.format is not None:
        plan = uniform_plan(spec, options.format, budget, tables, speed=speed)
        return Decision(plan, calibration, judge)
    plan = make_plan(spec, budget, tables, sensitivity=judge, speed=speed)
    if measured is not None:
        from edgellm.apps.cli.trial import Contest

        contest = Contest(checkpoint, spec, tables, measured, store, request.threads, speed)
        plan = contest.better(plan, budget)
    return Decision(plan, calibration, judge)


def check_fit(budget: Budget, spec: ModelSpec, tables: Tables) -> None:
    """Raise BudgetError before anything is measured, where no plan at all can fit."""
    anything = StaticCaches(spec, tables, least_bits=0)
    judge = StaticSensitivity(spec, tables, has_imatrix=True, measured_caches=anything)
    unhurried = replace(budget, min_tokens_per_s=None, preference="quality")
    make_plan(spec, unhurried, tables, sensitivity=judge)


def table_judge(
    request: Request, spec: ModelSpec, tables: Tables
) -> tuple[Sensitivity, Calibration | None]:
    """The static judge; formats that need statistics count when the imatrix has every matrix."""
    if request.imatrix is None:
        return StaticSensitivity(spec, tables), None
    from edgellm.apps.cli.statistics import read_statistics
    from edgellm.converters.rounding.moments import rounding_moments

    imatrix = read_statistics(request.imatrix, spec, "rounded without statistics")
    calibration = Calibration(0, imatrix.moments(spec), {})
    matrices = sum(tensor.is_matrix for tensor in spec.tensors)
    is_complete = len(rounding_moments(spec, calibration)) == matrices
    return StaticSensitivity(spec, tables, has_imatrix=is_complete), calibration


def decode_speed(request: Request, spec: ModelSpec, store: Store) -> DecodeSpeed:
    """What decoding takes on this machine, measured once; a note when it was too busy to tell."""
    from edgellm.apps.cli.output import note
    from edgellm.apps.cli.progress_sinks import terminal_progress
    from edgellm.runtimes.llama_cpp.speed import measure_decode_speed
    from edgellm.runtimes.llama_cpp.threads import useful_threads

    weights_bytes = spec.parameters // 2  # four bits each, as a guess
    threads = request.threads or useful_threads(weights_bytes)
    with terminal_progress() as progress:
        speed = measure_decode_speed(spec, threads, store.cache / "speed", progress)
    if request.options.needs_speed and not speed.is_quiet:
        note("the machine was busy while its speed was measured; predicted speeds are too low")
    return speed
