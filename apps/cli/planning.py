"""From planning options to a plan: sizes read, defaults filled in and said aloud."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgellm.apps.cli.output import note
from edgellm.apps.free_memory import look_at_memory
from edgellm.errors import UsageError
from edgellm.units import format_bytes, parse_size

if TYPE_CHECKING:
    from edgellm.formats import Tables
    from edgellm.plan import Budget, Plan, Preference
    from edgellm.sensitivity import Sensitivity
    from edgellm.spec import ModelSpec

STATIC = "static"  # the mode that asks a table
# What measures each mode of sensitivity, as "module:function"; nothing for the table.
MODES: Mapping[str, str | None] = MappingProxyType(
    {
        STATIC: None,
        "noise": "edgellm.apps.cli.measuring:measure_noise",
        "fisher": "edgellm.apps.cli.gradients:measure_fisher",
        "llm-mq": "edgellm.apps.cli.gradients:measure_slopes",
    }
)
DEFAULT_MODE = "noise"
MAX_PLAN_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class PlanningOptions:
    """The planning options of a verb as the user typed them."""

    memory: str | None = None
    context: int | None = None
    weights_memory: str | None = None
    target_bpw: float | None = None
    format: str | None = None
    min_speed: float | None = None
    prefer: str | None = None

    @property
    def needs_speed(self) -> bool:
        """Whether the plan depends on how fast this machine decodes."""
        return self.min_speed is not None or self.prefer not in (None, "quality")

    @property
    def given(self) -> dict[str, Any]:
        """Options the user set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def flags(self) -> list[str]:
        """The options as they are typed."""
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in self.given.items()]
        return [word for pair in pairs for word in pair]


def free_memory_budget(say: Callable[[str], None] = note) -> int:
    """What is free now less the reserve, said aloud. Bytes."""
    memory = look_at_memory()
    budget_bytes, free_bytes = memory.budget_bytes, memory.free_bytes
    say(
        f"budget {format_bytes(budget_bytes)}: {format_bytes(free_bytes)} free now, "
        f"{format_bytes(free_bytes - budget_bytes)} kept in reserve"
    )
    return budget_bytes


def default_context(spec: "ModelSpec") -> int:
    """The context used when none is asked for, in tokens."""
    from edgellm.plan import DEFAULT_CONTEXT

    return min(DEFAULT_CONTEXT, spec.context_length, spec.sliding_window or DEFAULT_CONTEXT)


def read_budget(options: PlanningOptions, spec: "ModelSpec") -> "Budget":
    """The budget that the options ask for. Raises UsageError for values that mean nothing."""
    from edgellm.plan import Budget

    if options.context is not None and options.context < 1:
        raise UsageError(f"--context {options.context}: give a number of tokens above 0")
    if options.target_bpw is not None and not 0 < options.target_bpw <= 32:
        raise UsageError(f"--target-bpw {options.target_bpw}: give bits between 0 and 32")
    if options.format is not None and (options.target_bpw or options.weights_memory):
        raise UsageError("--format already sets the bits; drop --target-bpw and --weights-memory")
    if options.min_speed is not None and not options.min_speed > 0:
        raise UsageError(f"--min-speed {options.min_speed:g}: give tokens per second above 0")
    return Budget(
        context=options.context or default_context(spec),
        memory_bytes=parse_size(options.memory) if options.memory else free_memory_budget(),
        weights_bytes=parse_size(options.weights_memory) if options.weights_memory else None,
        target_bpw=options.target_bpw,
        min_tokens_per_s=options.min_speed,
        preference=read_preference(options.prefer),
    )


def read_preference(name: str | None) -> "Preference":
    """The preference called `name`. Raises UsageError."""
    from edgellm.plan import PREFERENCES

    for preference in PREFERENCES:
        if name in (preference, None):
            return preference
    raise UsageError(f"--prefer {name!r} is unknown; preferences: {', '.join(PREFERENCES)}")


def chosen_mode(
    mode: str | None, options: PlanningOptions, calibration: Path | None, *, is_typed: bool
) -> str:
    """The mode meant: what was typed, or a setting unless other options rule it out."""
    if mode is not None and is_typed:
        return mode
    if options.format is not None:
        return STATIC
    measures = MODES.get(mode or DEFAULT_MODE, "") is not None
    return mode if mode is not None and (measures or calibration is None) else DEFAULT_MODE


def check_mode(mode: str, calibration: Path | None, format: str | None = None) -> bool:
    """Whether sensitivity is measured. Raises UsageError for options that exclude each other."""
    if mode not in MODES:
        raise UsageError(f"--sensitivity {mode!r} is unknown; modes: {', '.join(MODES)}")
    if calibration is not None and mode == STATIC:
        measured = ", ".join(name for name, measure in MODES.items() if measure)
        raise UsageError(f"--calibration is for --sensitivity {measured}; static needs no text")
    if format is not None and mode != STATIC:
        raise UsageError("--format already decides every tensor; drop --sensitivity")
    return MODES[mode] is not None


def read_plan(path: Path) -> "Plan":
    """A plan as it stands in a file. Raises InputError."""
    from edgellm.json_file import read_json
    from edgellm.plan import Plan

    return Plan.from_json(read_json(path, MAX_PLAN_BYTES), str(path))


def settled(
    read: "Plan",
    path: Path,
    spec: "ModelSpec",
    tables: "Tables",
    sensitivity: "Sensitivity | None",
) -> "Plan":
    """A plan from a file, perhaps edited by hand, with its figures computed anew.

    Raises InputError for a plan that is broken or another model's, BudgetError for one that its
    edits took beyond its budget.
    """
    from edgellm.plan import over_budget
    from edgellm.planner import settle_plan

    plan = settle_plan(spec, read, tables, str(path), sensitivity=sensitivity)
    if not plan.fits:
        raise over_budget(str(path), plan.memory, plan.budget_bytes)
    return plan
