"""The integer program of the allocation, made small before it is solved exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from edgellm.planner.frontier import Core, Floats

_TOLERANCE = 1e-9
_EXCHANGED = 400  # candidates tried in pairs; more take longer than they save
_HALVINGS = 64  # of the interval that holds the price of a limit


@dataclass(frozen=True, slots=True)
class _Relaxed:
    """The best choice that need not be whole."""

    prices: Floats  # of each limit: what a unit more of it would save
    counts: Floats  # of each candidate


@dataclass(frozen=True, slots=True)
class _Promising:
    """What is left to choose from once a choice is at hand."""

    kept: NDArray[np.bool_]
    excess: Floats  # by how much a choice with the candidate exceeds the bound at least
    slack: float  # by how much the choice at hand does


@dataclass(frozen=True, slots=True)
class Program:
    """Choose `sizes[g]` candidates from each group g: least cost within every limit."""

    costs: Floats  # of each candidate, group after group
    owner: NDArray[np.int64]  # the group of each candidate, rising
    sizes: Floats  # how many to choose from each group
    weights: Floats  # what each candidate adds to each limit: [limits, candidates]
    rooms: Floats  # what each limit allows

    def solve(self) -> Floats | None:
        """How often each candidate is taken; None when nothing fits."""
        promising = self._promising()
        if promising is None:
            return self._solve_whole()
        kept = promising.kept
        choices = np.bincount(self.owner[kept], minlength=len(self.sizes))[self.owner]
        open_ = kept & (choices > 1)
        counts = np.where(kept & ~open_, self.sizes[self.owner], 0.0)
        if open_.any():
            found = self._rest(open_, counts)._solve_rest(promising.excess[open_], promising.slack)
            if found is None:
                return None
            counts[open_] = found
        return counts

    def _rest(self, kept: NDArray[np.bool_], settled: Floats) -> "Program":
        """The program of some candidates beside others that are taken already."""
        groups, owner = np.unique(self.owner[kept], return_inverse=True)
        rooms = self.rooms - self.weights @ settled
        return Program(self.costs[kept], owner, self.sizes[groups], self.weights[:, kept], rooms)

    def _solve_rest(self, excess: Floats, slack: float) -> Floats | None:
        """By listing where few choices are left, by branching otherwise."""
        each = np.split(np.arange(len(self.costs)), self._starts()[1:])
        groups = [each[i] for i in np.repeat(np.arange(len(each)), self.sizes.astype(int))]
        listed = Core(groups, self.costs, self.weights, excess, self.rooms, slack).best()
        if listed is None:
            return self._solve_whole()
        return np.bincount(listed, minlength=len(self.costs)).astype(np.float64)

    def _solve_whole(self) -> Floats | None:
        result = milp(
            self.costs,
            integrality=np.ones(len(self.costs), dtype=np.int64),
            bounds=Bounds(0, self.sizes[self.owner]),
            constraints=[
                LinearConstraint(self._membership(), self.sizes, self.sizes),
                LinearConstraint(self.weights, -np.inf, self.rooms),
            ],
            options={"mip_rel_gap": 0.0},
        )
        return None if result.x is None else np.rint(result.x)

    def _promising(self) -> _Promising | None:
        """The candidates that a best choice may contain; None where that cannot be told.

        What costs more, at least, than a choice already at hand cannot be part of a better one.
        """
        relaxed = self._relaxed()
        at_hand = None if relaxed is None else self._rounded(relaxed.counts)
        if relaxed is None or at_hand is None:
            return None
        bound, excess = self._priced(relaxed.prices)
        at_hand = self._improved(at_hand, excess)
        slack = float(self.costs @ at_hand - bound + _TOLERANCE * self.costs.max())
        return _Promising(excess <= slack, excess, slack)

    def _priced(self, prices: Floats) -> tuple[float, Floats]:
        """With the limits priced, what every choice costs at least, and each candidate adds."""
        priced = self.costs + prices @ self.weights
        least = np.minimum.reduceat(priced, self._starts())
        return float(least @ self.sizes - prices @ self.rooms), priced - least[self.owner]

    def _relaxed(self) -> _Relaxed | None:
        """The best mixture of candidates; None where none is found."""
        if len(self.rooms) == 1:
            return self._mixed()
        result = linprog(  # type: ignore[call-overload]  # its stubs know no sparse matrices
            self.costs,
            A_ub=self.weights,
            b_ub=self.rooms,
            A_eq=self._membership(),
            b_eq=self.sizes,
            method="highs",
        )
        if result.x is None:
            return None
        return _Relaxed(np.maximum(-result.ineqlin.marginals, 0), result.x)

    def _mixed(self) -> _Relaxed | None:
        """Under one limit: the cheapest choices just below and just above its price, mixed."""
        low, high = 0.0, 2 * float(np.ptp(self.costs))  # weights differ by 1 or more
        heavy, light = self._cheapest(low), self._cheapest(high)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            found = self._cheapest(middle)
            if (self.weights @ found <= self.rooms).all():
                high, light = middle, found
            else:
                low, heavy = middle, found
        spare = float(self.rooms[0] - self.weights[0] @ light)
        if spare < 0:
            return None
        added = float(self.weights[0] @ (heavy - light))
        share = min(1.0, spare / added) if added > 0 else 0.0
        return _Relaxed(np.array([high]), light + share * (heavy - light))

    def _cheapest(self, price: float) -> Floats:
        """Of each group, all from the candidate that costs least with its weight priced."""
        priced = self.costs + price * self.weights[0]
        least = np.minimum.reduceat(priced, self._starts())
        cheapest = np.flatnonzero(priced == least[self.owner])
        chosen = np.zeros(len(self.sizes), dtype=np.int64)
        chosen[self.owner[cheapest]] = cheapest  # one of equals
        counts = np.zeros(len(self.costs))
        counts[chosen] = self.sizes
        return counts

    def _rounded(self, counts: Floats) -> Floats | None:
        """A whole choice near a relaxed one; None where that breaks a limit."""
        whole = np.floor(counts + _TOLERANCE)
        short = self.sizes - np.bincount(self.owner, whole, len(self.sizes))
        for group in np.flatnonzero(short):
            members = np.flatnonzero((self.owner == group) & (counts > _TOLERANCE))
            lightest = members[np.argmin(self.weights[:, members].sum(axis=0))]
            whole[lightest] += short[group]
        return whole if (self.weights @ whole <= self.rooms).all() else None

    def _improved(self, counts: Floats, excess: Floats) -> Floats:
        """A choice that no exchange in two groups betters, among the candidates of least excess."""
        counts = counts.copy()
        ranked = np.argsort(excess, kind="stable")
        while True:
            taken = np.flatnonzero(counts > 0)
            instead = np.zeros(len(self.sizes), dtype=np.int64)
            instead[self.owner[taken]] = taken
            near = ranked[ranked != instead[self.owner[ranked]]][:_EXCHANGED]
            near = np.append(near, taken[-1])  # stays, so that another may move alone
            left = instead[self.owner[near]]
            saved = self.costs[left] - self.costs[near]
            added = self.weights[:, near] - self.weights[:, left]
            room = (self.rooms - self.weights @ counts)[:, None, None]
            fits = (added[:, :, None] + added[:, None, :] <= room).all(axis=0)
            fits &= self.owner[near][:, None] != self.owner[near]
            gains = np.where(fits, saved[:, None] + saved, 0)
            first, second = np.unravel_index(np.argmax(gains), gains.shape)
            if gains[first, second] <= _TOLERANCE * self.costs.max():
                return counts
            for move in (first, second):
                counts[left[move]] -= 1
                counts[near[move]] += 1

    def _starts(self) -> NDArray[np.int64]:
        """The first candidate of each group."""
        return np.searchsorted(self.owner, np.arange(len(self.sizes)))

    def _membership(self) -> csr_array:
        """Which group each candidate belongs to, as ones: [groups, candidates]."""
        every = np.arange(len(self.owner))
        return csr_array((np.ones(len(self.owner)), (self.owner, every)))
