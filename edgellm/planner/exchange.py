"""What bytes are worth: steps between formats, and the exchange rate of nats for bytes.

Under a cap bytes have a price: the nats per token that one more byte would save if formats could be
mixed inside a tensor. It is the multiplier of the relaxed multiple-choice knapsack (Sinha and
Zoltners, Operations Research 27(3), 1979): the steps along the lower hull of every menu's
(bytes, cost) are taken in order of what they save per byte, and the rate is that of the first step
for which no room is left. A best choice takes the steps that save more than the rate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Step:
    """A change of one choice."""

    to: str  # the format, pair of formats or ubatch instead
    bytes: int  # added by a finer choice, freed by a coarser one
    kl_divergence: float  # nats per token: saved by a finer choice, added by a coarser one

    @property
    def nats_per_mib(self) -> float:
        return MIB * self.kl_divergence / self.bytes

    def to_json(self) -> dict[str, Any]:
        change = {"bytes": self.bytes, "kl_divergence": self.kl_divergence}
        return {"format": self.to, **change, "nats_per_mib": self.nats_per_mib}


@dataclass(frozen=True, slots=True)
class Option:
    """One way to make a choice."""

    name: str
    bytes: int
    cost: float  # nats per token


def steps_up(options: Iterable[Option]) -> list[Step]:
    """The steps along the lower hull of (bytes, cost), from the fewest bytes to the least cost."""
    ordered = sorted(options, key=lambda option: (option.bytes, option.cost))
    steps, here = [], ordered[0]
    while (step := finer_step(here, ordered)) is not None:
        steps.append(step)
        here = next(option for option in ordered if option.name == step.to)
    return steps


def finer_step(here: Option, options: Sequence[Option]) -> Step | None:
    """The step to lower cost that saves the most per byte; None where nothing costs less."""
    steps = [
        Step(option.name, option.bytes - here.bytes, here.cost - option.cost)
        for option in options
        if option.bytes > here.bytes and option.cost < here.cost
    ]
    return max(steps, key=lambda step: (step.nats_per_mib, step.bytes), default=None)


def coarser_step(here: Option, options: Sequence[Option]) -> Step | None:
    """The step to fewer bytes that costs the least per byte; None where nothing is smaller."""
    steps = [
        Step(option.name, here.bytes - option.bytes, option.cost - here.cost)
        for option in options
        if option.bytes < here.bytes
    ]
    return min(steps, key=lambda step: (step.nats_per_mib, step.bytes), default=None)


def exchange_rate(menus: Iterable[Sequence[Option]], cap_bytes: int) -> float:
    """Nats per MiB that the next byte would save where the menus may take `cap_bytes` together."""
    room_bytes, steps = cap_bytes, []
    for menu in menus:
        room_bytes -= min(option.bytes for option in menu)
        steps += steps_up(menu)
    for step in sorted(steps, key=lambda step: -step.nats_per_mib):
        room_bytes -= step.bytes
        if room_bytes < 0:
            return step.nats_per_mib
    return 0.0
