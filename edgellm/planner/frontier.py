"""Solves a small program by listing every choice that could still be best.

Group after group, a state is what the candidates taken so far weigh and cost. It is dropped once
its excess over the relaxed optimum is more than that of a choice already at hand, or when another
state weighs and costs no more (dynamic programming over a core: Pisinger, European Journal of
Operational Research 83, 1995).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_STATES = 8192  # more take longer than branching does
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Core:
    """The candidates left to choose from, one of each group."""

    groups: Sequence[Indices]  # the candidates of each
    costs: Floats  # by candidate
    weights: Floats  # what each adds to each limit: [limits, candidates]
    excess: Floats  # by candidate: how much more a choice costs for it, at least
    rooms: Floats  # what each limit allows
    slack: float  # the excess of the choice at hand

    def best(self) -> Indices | None:
        """The candidate of each group; None where too many states are left, or none that fits."""
        states, steps = _States.start(len(self.rooms)), list[tuple[Indices, Indices]]()
        for group in self.groups:
            states, taken, before = states.joined(self, group)
            steps.append((taken, before))
            if len(states.costs) > _MOST_STATES:
                return None
        spare = self.rooms[:, None] - states.weights
        fitting = np.flatnonzero((spare >= 0).all(axis=0))
        if not len(fitting):
            return None
        return _traced(steps, int(fitting[np.argmin(states.costs[fitting])]))


@dataclass(frozen=True, slots=True)
class _States:
    """Sums over the groups so far."""

    weights: Floats  # [limits, states]
    costs: Floats
    excess: Floats

    @classmethod
    def start(cls, limits: int) -> "_States":
        return cls(np.zeros((limits, 1)), np.zeros(1), np.zeros(1))

    def joined(self, core: Core, group: Indices) -> tuple["_States", Indices, Indices]:
        """The states with one group more, what each takes of it, and the state each came from."""
        excess = np.add.outer(core.excess[group], self.excess).ravel()
        kept = np.flatnonzero(excess <= core.slack)
        taken, before = np.divmod(kept, len(self.costs))
        costs = core.costs[group][taken] + self.costs[before]
        weights = core.weights[:, group[taken]] + self.weights[:, before]
        best = _unbeaten(costs, weights)
        states = _States(weights[:, best], costs[best], excess[kept[best]])
        return states, group[taken[best]], before[best]


def _unbeaten(costs: Floats, weights: Floats) -> Indices:
    """Those that weigh or cost less than the cheapest of the lighter ones.

    Lighter by the first limit; under several limits more may be beaten than are left out.
    """
    order = np.lexsort((costs, *weights[::-1]))
    costs, weights = costs[order], weights[:, order]
    least = np.minimum.accumulate(costs)
    cheaper = np.append(True, costs[1:] < least[:-1])
    cheapest = np.maximum.accumulate(np.where(cheaper, np.arange(len(costs)), 0))
    beaten = (weights >= weights[:, cheapest]).all(axis=0) & ~cheaper
    return order[~beaten]


def _traced(steps: Sequence[tuple[Indices, Indices]], at: int) -> Indices:
    """What the state `at` took of each group."""
    chosen = np.empty(len(steps), dtype=np.int64)
    for index in reversed(range(len(steps))):
        taken, before = steps[index]
        chosen[index], at = taken[at], before[at]
    return chosen
