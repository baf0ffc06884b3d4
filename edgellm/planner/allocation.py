"""Spends bytes over tensors and caches so that the predicted cost is least: an exact program."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, gcd
from operator import attrgetter, le, mul
from typing import Literal

from edgellm.planner.quiet import stdout_discarded

# Costs are scaled so that the coarsest choice costs this much: far above the solver's absolute
# tolerances, which are about 1e-6.
_COST_SCALE = 1e6
_COST_UNITS = 10**9  # a limit on the cost, in the whole units that limits are counted in


_Burdens = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One format a tensor may take, or one way to set up the run that all tensors share."""

    name: str
    stored_bytes: int  # in the file
    weights_bytes: int  # of weights once loaded
    memory_bytes: int  # of all kinds once loaded
    cost: float  # nats per token
    nanoseconds: int = 0  # of decoding one token; 0 where speed was not measured

    def burdens(self) -> _Burdens:
        """All that is better the less there is of it."""
        bytes_taken = (self.stored_bytes, self.weights_bytes, self.memory_bytes)
        return (*bytes_taken, self.cost, self.nanoseconds)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the chosen candidates may add up to, by field; None where nothing binds."""

    memory_bytes: int | None = None
    weights_bytes: int | None = None
    stored_bytes: int | None = None
    nanoseconds: int | None = None
    cost: float | None = None


Objective = Literal["cost", "nanoseconds"]
Menu = tuple[Candidate, ...]  # what one tensor, or the run, may be; costliest first
Groups = Sequence[tuple[Menu, int]]  # equal tensors: their menu and how many they are
Counts = list[list[int]]  # per group: how many tensors take each candidate


def worthwhile(candidates: Sequence[Candidate]) -> Menu:
    """The candidates that no other beats in everything, costliest first.

    Between equals the name decides.
    """
    kept: list[tuple[_Burdens, Candidate]] = []
    # What beats a candidate comes before it in this order.
    ranked = sorted(
        ((c.burdens(), c) for c in candidates), key=lambda each: (each[0], each[1].name)
    )
    for burdens, candidate in ranked:
        if not any(all(map(le, lighter, burdens)) for lighter, _ in kept):
            kept.append((burdens, candidate))
    found = (candidate for _, candidate in kept)
    return tuple(sorted(found, key=lambda c: (-c.cost, c.memory_bytes, c.name)))


def smallest(menus: Sequence[Menu], field: str) -> int:
    """What the candidates add up to in one of their fields when each is as small as it can be."""
    return sum(min(map(attrgetter(field), menu)) for menu in menus)


def allocate(
    menus: Sequence[Menu], limits: Limits, objective: Objective = "cost"
) -> list[Candidate] | None:
    """The choice of one candidate from each menu with the least total within the limits.

    Returns None when nothing fits. Equal menus are solved as one integer count; among their
    tensors the finer formats go to those that come first. The result depends on the input alone.
    """
    groups: dict[Menu, list[int]] = defaultdict(list)
    for index, menu in enumerate(menus):
        groups[menu].append(index)
    counts = _solve([(menu, len(members)) for menu, members in groups.items()], limits, objective)
    if counts is None:
        return None
    chosen: dict[int, Candidate] = {}
    for (menu, members), group_counts in zip(groups.items(), counts, strict=True):
        costliest_first = [c for c, n in zip(menu, group_counts, strict=True) for _ in range(n)]
        chosen.update(zip(members, reversed(costliest_first), strict=True))
    return [chosen[index] for index in range(len(menus))]


@dataclass(frozen=True, slots=True)
class _Row:
    """One limit: units each candidate adds to its group's smallest, and units there is room for."""

    extra: list[list[int]]
    room: int

    @classmethod
    def of(cls, groups: Groups, field: str, limit: float) -> "_Row":
        """In units of the common divisor, which keeps the solver's numbers small and whole."""
        scale = _COST_UNITS / limit if field == "cost" and limit > 0 else 1
        sizes = [[ceil(scale * getattr(c, field)) for c in menu] for menu, _ in groups]
        extra = [[each - min(row) for each in row] for row in sizes]
        least = sum(min(row) * count for row, (_, count) in zip(sizes, groups, strict=True))
        unit = gcd(*(each for row in extra for each in row)) or 1
        room = (int(limit * scale) - least) // unit
        return cls([[each // unit for each in row] for row in extra], room)

    def holds(self, counts: Counts) -> bool:
        pairs = zip(counts, self.extra, strict=True)
        return sum(sum(map(mul, taken, row)) for taken, row in pairs) <= self.room


def _solve(groups: Groups, limits: Limits, objective: Objective) -> Counts | None:
    """How many tensors of each group take each candidate; None when nothing fits."""
    binding = {field: limit for field, limit in asdict(limits).items() if limit is not None}
    rows = [_Row.of(groups, field, limit) for field, limit in binding.items()]
    if any(row.room < 0 for row in rows):
        return None
    best = [_all_of_the_best(menu, count, objective) for menu, count in groups]
    if all(row.holds(best) for row in rows):
        return best
    return _integer_program(groups, rows, objective)


def _all_of_the_best(menu: Menu, count: int, objective: Objective) -> list[int]:
    burdens = [getattr(candidate, objective) for candidate in menu]
    last = len(menu) - 1 - burdens[::-1].index(min(burdens))
    return [count if index == last else 0 for index in range(len(menu))]


def _integer_program(groups: Groups, rows: list[_Row], objective: Objective) -> Counts | None:
    """Minimise the objective over integer counts; every group is used up, every limit holds."""
    import numpy as np

    from edgellm.planner.program import Program

    burdens = [[float(getattr(c, objective)) for c in menu] for menu, _ in groups]
    costs = np.array([each - min(row) for row in burdens for each in row])
    program = Program(
        costs=costs * (_COST_SCALE / costs.max()),
        owner=np.repeat(np.arange(len(groups)), [len(menu) for menu, _ in groups]),
        sizes=np.array([count for _, count in groups], dtype=float),
        weights=np.array([[u for extra in row.extra for u in extra] for row in rows], dtype=float),
        rooms=np.array([row.room for row in rows], dtype=float),
    )
    with stdout_discarded():  # HiGHS prints when it repairs a solution
        solution = program.solve()
    if solution is None:
        return None
    found = iter(solution.astype(int).tolist())
    counts = [[next(found) for _ in menu] for menu, _ in groups]
    assert all(row.holds(counts) for row in rows), "the solver broke a limit"
    return counts
