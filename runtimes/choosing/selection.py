"""Which engine, on which device, for a model on a machine: a pure function, with every reason.

The facts about engines and devices are rows of quant_tables/backends.toml, the rules are in
refusals.py. Nothing is looked at here: installed.py looks, and `choose_runtime` of choice.py is the
way from a file to a choice.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from edgellm.errors import UnsupportedError
from edgellm.hardware import Hardware
from edgellm.quant_tables import load_tables
from edgellm.runtimes import RUNTIMES
from edgellm.runtimes.choosing.refusals import RULES, Case, layers_that_fit, room_for
from edgellm.runtimes.choosing.surroundings import Installed, ModelNeeds
from edgellm.units import format_bytes

ALL_LAYERS = -1  # LoadOptions.gpu_layers


@dataclass(frozen=True, slots=True)
class Candidate:
    """One engine on one kind of device: why it is refused, or what it would do."""

    name: str  # a row of quant_tables/backends.toml
    engine: str  # what edgellm.runtimes.open_runtime takes
    usable: bool
    reason: str  # one line: what it would do, or the one thing that is missing and the next step
    device: str  # where the model would lie; empty where it is refused
    gpu_layers: int  # for LoadOptions; -1 is all
    fallback: str | None = None  # of one that was selected: why it is not what the machine has best


def rank_runtimes(
    hardware: Hardware,
    installed: Installed,
    needs: ModelNeeds | None = None,
    engines: Collection[str] = RUNTIMES,
) -> tuple[Candidate, ...]:
    """Every backend there is: the usable ones, best first, then the others as the table has them.

    needs: the model; None leaves out what depends on one. engines: those edgellm has.
    """
    ranked = []
    for place, row in enumerate(load_tables().backends.values()):
        case = Case(row, hardware, installed, engines, needs)
        candidate = _judge(case)
        rank = row.rank_shared if case.shares_memory else row.rank
        ranked.append((not candidate.usable, rank if candidate.usable else 0, place, candidate))
    return tuple(candidate for *_, candidate in sorted(ranked, key=lambda one: one[:3]))


def select_runtime(
    hardware: Hardware,
    installed: Installed,
    needs: ModelNeeds,
    engines: Collection[str] = RUNTIMES,
) -> Candidate:
    """The best that can run the model. Raises UnsupportedError with every reason where none can."""
    ranked = rank_runtimes(hardware, installed, needs, engines)
    if ranked[0].usable:
        for_any_model = rank_runtimes(hardware, installed, None, engines)
        return replace(ranked[0], fallback=_fallback(ranked, for_any_model, needs))
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in ranked if one.engine in engines)
    raise UnsupportedError(f"no engine here can run this {needs.format} model: {reasons}")


def _fallback(
    ranked: tuple[Candidate, ...], for_any_model: tuple[Candidate, ...], needs: ModelNeeds
) -> str | None:
    """What this model, of all there are, misses here; for an engine.fallback event."""
    chosen, rows = ranked[0], load_tables().backends
    able = [c.name for c in for_any_model if c.usable and rows[c.name].reads == needs.format]
    if able[0] != chosen.name:
        (reason,) = [candidate.reason for candidate in ranked if candidate.name == able[0]]
        return f"{chosen.name} instead of {able[0]}: {reason}"
    return chosen.reason if chosen.gpu_layers > 0 else None


def _judge(case: Case) -> Candidate:
    row = case.backend
    for rule in RULES:
        if (refusal := rule(case)) is not None:
            return Candidate(row.name, row.engine, False, refusal, "", 0)
    if not row.on_gpu:
        does = f"all on the processor, {_cores(case.hardware.physical_cores)}"
        return Candidate(row.name, row.engine, True, does, case.hardware.processor, 0)
    return _on_gpu(case)


def _on_gpu(case: Case) -> Candidate:
    row, needs, room = case.backend, case.needs, room_for(case)
    free = "" if room.free_bytes is None else f", {format_bytes(room.free_bytes)} for a model"
    does, gpu_layers = f"all layers on {room.name}{free}", ALL_LAYERS
    if needs is not None and room.free_bytes is not None:
        fit = layers_that_fit(needs, room.free_bytes)
        if fit < needs.layers:
            whole = f"all need {format_bytes(needs.total_bytes)}"
            does = f"{fit} of {needs.layers} layers on {room.name}{free}; {whole}"
            gpu_layers = fit
    return Candidate(row.name, row.engine, True, does, room.name, gpu_layers)


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"
