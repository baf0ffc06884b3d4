"""Searches formats, caches and ubatch together, within limits on bytes and on time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgellm.memory import RunSettings
from edgellm.plan import Preference
from edgellm.planner.allocation import Candidate, Limits, Menu, Objective, allocate, worthwhile

# A larger ubatch reads prompts faster; that is worth this much predicted KL divergence, as a factor
# of the least that any ubatch allows.
UBATCH_WORTH = 1.25
# The predicted KL divergence that may be given for speed, as a factor of the least there is.
SPEED_WORTH: Mapping[Preference, float] = {"speed": 2.0, "balanced": 1.25}

Offer = Mapping[Candidate, RunSettings]  # ways to run in one ubatch


@dataclass(frozen=True, slots=True)
class Choice:
    """One candidate for each tensor, and the run they all share."""

    tensors: Sequence[Candidate]
    run: RunSettings
    cost: float  # nats per token, of weights and caches
    nanoseconds: int  # of decoding one token


@dataclass(frozen=True, slots=True)
class Search:
    """One question to the exact program, asked for one ubatch after the other."""

    menus: Sequence[Menu]  # of each tensor
    offers: Sequence[Offer]  # one for each ubatch, the largest first
    limits: Limits

    def best(self, preference: Preference = "quality") -> Choice | None:
        """The choice with the least cost; the largest ubatch that comes close to it.

        A preference for speed limits the time first: to the least that any choice takes whose cost
        is not above SPEED_WORTH times the least. Returns None when nothing fits.
        """
        # The smallest ubatch leaves the weights most; a larger one has to come close to that.
        smallest = self.offers[-1]
        least = self._solve(smallest, self.limits)
        if least is None:
            return None
        limits = self.limits
        if preference in SPEED_WORTH:
            limits = self._hastened(least, SPEED_WORTH[preference])
            least = self._solve(smallest, limits) or least
        for offer in self.offers[:-1]:
            choice = self._solve(offer, limits)
            if choice is not None and choice.cost <= UBATCH_WORTH * least.cost:
                return choice
        return least

    def fastest(self) -> Choice | None:
        """The choice that decodes fastest, whatever it costs; limits on time do not count."""
        unhurried = replace(self.limits, nanoseconds=None)
        return self._solve(self.offers[-1], unhurried, "nanoseconds")

    def _hastened(self, least: Choice, worth: float) -> Limits:
        bearable = replace(self.limits, cost=worth * least.cost)
        fastest = self._solve(self.offers[-1], bearable, "nanoseconds")
        # Rounding to the program's whole units may leave nothing but what is at hand.
        nanoseconds = least.nanoseconds if fastest is None else fastest.nanoseconds
        return replace(self.limits, nanoseconds=nanoseconds)

    def _solve(self, offer: Offer, limits: Limits, objective: Objective = "cost") -> Choice | None:
        chosen = allocate([*self.menus, worthwhile(tuple(offer))], limits, objective)
        if chosen is None:
            return None
        *tensors, run = chosen
        cost = sum(candidate.cost for candidate in chosen)
        return Choice(tensors, offer[run], cost, sum(c.nanoseconds for c in chosen))
