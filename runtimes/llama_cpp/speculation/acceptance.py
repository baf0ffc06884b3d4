"""How often guesses turn out right, lately."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

_KEPT = 15 / 16  # of the weight of what was seen, at each new observation
_PRIOR_WEIGHT = 2.0  # observations that the assumption counts as


class Acceptance:
    """For each class of evidence and each place in a draft: the chance that the token there is
    right when all before it were. Exponential averages; a place hardly seen is taken to be like
    the one before it.
    """

    def __init__(self, priors: Sequence[float], most: int) -> None:
        """priors: by class, the chance assumed before anything is seen. most: tokens of a draft."""
        self._priors = tuple(priors)
        self._right = [[0.0] * most for _ in priors]
        self._seen = [[0.0] * most for _ in priors]
        self._chances: list[list[float] | None] = [None for _ in priors]

    def observe(self, evidence: int, drafted: int, accepted: int) -> None:
        """A draft of so many tokens of which the first `accepted` were right."""
        right, seen = self._right[evidence], self._seen[evidence]
        for place in range(min(accepted + 1, drafted)):
            right[place] = right[place] * _KEPT + (place < accepted)
            seen[place] = seen[place] * _KEPT + 1
        self._chances[evidence] = None

    def chances(self, evidence: int) -> list[float]:
        """By place, the chance that the draft is right up to and with that token."""
        found = self._chances[evidence]
        if found is None:
            found = self._chances[evidence] = list(accumulate(self._conditional(evidence), mul))
        return found

    def _conditional(self, evidence: int) -> list[float]:
        chance, found = self._priors[evidence], []
        for right, seen in zip(self._right[evidence], self._seen[evidence], strict=True):
            chance = (right + _PRIOR_WEIGHT * chance) / (seen + _PRIOR_WEIGHT)
            found.append(chance)
        return found
