"""Spends bytes over tensors so that the predicted cost is least: an exact integer program."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from operator import attrgetter, mul

from edgellm.planner.quiet import stdout_discarded

# Costs are scaled so that the coarsest choice costs this much: far above the solver's absolute
# tolerances, which are about 1e-6.
_COST_SCALE = 1e6


@dataclass(frozen=True, slots=True)
class Candidate:
    """One format a tensor may take."""

    format: str
    stored_bytes: int  # in the file
    resident_bytes: int  # once loaded
    cost: float  # nats per token

    def beats(self, other: "Candidate") -> bool:
        """Whether nothing speaks for `other`; between equals the name decides."""
        mine = (self.stored_bytes, self.resident_bytes, self.cost)
        theirs = (other.stored_bytes, other.resident_bytes, other.cost)
        return all(a <= b for a, b in zip(mine, theirs, strict=True)) and (
            mine != theirs or self.format < other.format
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What the chosen formats of all tensors may add up to; None where nothing binds."""

    resident_bytes: int | None = None
    stored_bytes: int | None = None


Menu = tuple[Candidate, ...]  # a tensor's candidates, coarsest first
Groups = Sequence[tuple[Menu, int]]  # equal tensors: their menu and how many they are
Counts = list[list[int]]  # per group: how many tensors take each candidate


def worthwhile(candidates: Sequence[Candidate]) -> Menu:
    """The candidates that no other beats, coarsest first."""
    kept = {c for c in candidates if not any(other.beats(c) for other in candidates)}
    return tuple(sorted(kept, key=lambda c: (-c.cost, c.resident_bytes, c.format)))


def smallest_resident(menus: Sequence[Menu]) -> int:
    """Bytes the tensors take once loaded when each is as small as it can be."""
    return sum(min(candidate.resident_bytes for candidate in menu) for menu in menus)


def smallest_stored(menus: Sequence[Menu]) -> int:
    """Bytes the tensors take in a file when each is as small as it can be."""
    return sum(min(candidate.stored_bytes for candidate in menu) for menu in menus)


def allocate(menus: Sequence[Menu], limits: Limits) -> list[Candidate] | None:
    """The choice of one candidate per tensor with the least total cost within the limits.

    Returns None when nothing fits. Equal tensors are solved as one integer count; among them the
    finer formats go to the tensors that come first. The result depends on the input alone.
    """
    groups: dict[Menu, list[int]] = defaultdict(list)
    for index, menu in enumerate(menus):
        groups[menu].append(index)
    counts = _solve([(menu, len(members)) for menu, members in groups.items()], limits)
    if counts is None:
        return None
    chosen: dict[int, Candidate] = {}
    for (menu, members), group_counts in zip(groups.items(), counts, strict=True):
        coarsest_first = [c for c, n in zip(menu, group_counts, strict=True) for _ in range(n)]
        chosen.update(zip(members, reversed(coarsest_first), strict=True))
    return [chosen[index] for index in range(len(menus))]


@dataclass(frozen=True, slots=True)
class _Row:
    """One limit: units each candidate adds to its group's smallest, and units there is room for."""

    extra: list[list[int]]
    room: int

    @classmethod
    def of(cls, groups: Groups, size: Callable[[Candidate], int], limit: int) -> "_Row":
        """In units of the common divisor, which keeps the solver's numbers small and whole."""
        sizes = [[size(candidate) for candidate in menu] for menu, _ in groups]
        extra = [[each - min(row) for each in row] for row in sizes]
        least = sum(min(row) * count for row, (_, count) in zip(sizes, groups, strict=True))
        unit = gcd(*(each for row in extra for each in row)) or 1
        return cls([[each // unit for each in row] for row in extra], (limit - least) // unit)

    def holds(self, counts: Counts) -> bool:
        pairs = zip(counts, self.extra, strict=True)
        return sum(sum(map(mul, taken, row)) for taken, row in pairs) <= self.room


def _solve(groups: Groups, limits: Limits) -> Counts | None:
    """How many tensors of each group take each candidate; None when nothing fits."""
    rows = []
    if limits.resident_bytes is not None:
        rows.append(_Row.of(groups, attrgetter("resident_bytes"), limits.resident_bytes))
    if limits.stored_bytes is not None:
        rows.append(_Row.of(groups, attrgetter("stored_bytes"), limits.stored_bytes))
    if any(row.room < 0 for row in rows):
        return None
    finest = [[0] * (len(menu) - 1) + [count] for menu, count in groups]
    if all(row.holds(finest) for row in rows):
        return finest
    return _integer_program(groups, rows)


def _integer_program(groups: Groups, rows: list[_Row]) -> Counts | None:
    """Minimise the cost over integer counts; every group is used up, every limit holds."""
    import numpy as np

    from edgellm.planner.program import Program

    widths = [len(menu) for menu, _ in groups]
    costs = np.array([c.cost - menu[-1].cost for menu, _ in groups for c in menu])
    program = Program(
        costs=costs * (_COST_SCALE / costs.max()),
        owner=np.repeat(np.arange(len(groups)), widths),
        sizes=np.array([count for _, count in groups], dtype=float),
        weights=np.array([[u for extra in row.extra for u in extra] for row in rows], dtype=float),
        rooms=np.array([row.room for row in rows], dtype=float),
    )
    with stdout_discarded():  # HiGHS prints when it repairs a solution
        solution = program.solve()
    if solution is None:
        return None
    found = iter(solution.astype(int).tolist())
    counts = [[next(found) for _ in range(width)] for width in widths]
    assert all(row.holds(counts) for row in rows), "the solver broke a limit"
    return counts
