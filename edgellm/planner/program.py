"""The integer program of the allocation, made small before it is solved exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

_TOLERANCE = 1e-9
_EXCHANGED = 400  # candidates tried in pairs; more take longer than they save
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Program:
    """Choose `sizes[g]` candidates from each group g: least cost within every limit."""

    costs: Floats  # of each candidate, group after group
    owner: NDArray[np.int64]  # the group of each candidate
    sizes: Floats  # how many to choose from each group
    weights: Floats  # what each candidate adds to each limit: [limits, candidates]
    rooms: Floats  # what each limit allows

    def solve(self) -> Floats | None:
        """How often each candidate is taken; None when nothing fits."""
        kept = self._promising()
        part = Program(
            self.costs[kept], self.owner[kept], self.sizes, self.weights[:, kept], self.rooms
        )
        found = part._solve_whole()
        if found is None:
            return None
        counts = np.zeros(len(self.costs))
        counts[kept] = found
        return counts

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

    def _promising(self) -> NDArray[np.bool_]:
        """The candidates that a best choice may contain.

        With the limits priced by the relaxed program's multipliers, every choice costs at least
        `bound`, and one with a given candidate at least that candidate's `excess` more. What then
        exceeds a choice already at hand cannot be part of a better one.
        """
        every = np.ones(len(self.costs), dtype=np.bool_)
        relaxed = linprog(
            self.costs,
            A_ub=self.weights,
            b_ub=self.rooms,
            A_eq=self._membership(),
            b_eq=self.sizes,
            method="highs",
        )
        if relaxed.x is None:
            return every
        prices = np.maximum(-relaxed.ineqlin.marginals, 0)
        priced = self.costs + prices @ self.weights
        least = np.full(len(self.sizes), np.inf)
        np.minimum.at(least, self.owner, priced)
        bound = least @ self.sizes - prices @ self.rooms
        excess = priced - least[self.owner]
        at_hand = self._rounded(relaxed.x)
        if at_hand is None:
            return every
        at_hand = self._improved(at_hand, excess)
        slack = self.costs @ at_hand - bound
        kept: NDArray[np.bool_] = excess <= slack + _TOLERANCE * self.costs.max()
        return kept

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
        near = np.argsort(excess, kind="stable")[:_EXCHANGED]
        while True:
            taken = np.flatnonzero(counts > 0)
            instead = np.zeros(len(self.sizes), dtype=np.int64)
            instead[self.owner[taken]] = taken
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

    def _membership(self) -> Floats:
        """Which group each candidate belongs to, as ones: [groups, candidates]."""
        members: Floats = (self.owner == np.arange(len(self.sizes))[:, None]).astype(np.float64)
        return members
