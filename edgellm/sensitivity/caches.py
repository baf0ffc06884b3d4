"""What coarser caches of K and V cost, whichever mode judges the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgellm.formats import KVFormat, Tables
from edgellm.spec import ModelSpec

FULL = "f16"  # the format that the others are compared with

# Errors of two bits are no longer small: the divergence they make grows faster than their power,
# and differs too much between models to be told from another one's.
_LEAST_PRICED_BITS = 4


class Caches(Protocol):
    """Judges pairs of cache formats."""

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        """Nats per token that keeping K and V in two formats costs."""

    def can_price(self, key: KVFormat, value: KVFormat) -> bool:
        """Whether the cost of a pair can be relied on."""


@dataclass(frozen=True, slots=True)
class StaticCaches:
    """Judges from measured priors of another model."""

    spec: ModelSpec
    tables: Tables
    least_bits: float = _LEAST_PRICED_BITS  # of formats whose cost can be relied on

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        priors = self.tables.priors
        key_cost = priors.key_cache * self._error_power(key)
        value_cost = priors.value_cache * self._error_power(value)
        return self.spec.layers * (key_cost + value_cost)

    def can_price(self, key: KVFormat, value: KVFormat) -> bool:
        return min(key.bits_per_element, value.bits_per_element) >= self.least_bits

    def _error_power(self, fmt: KVFormat) -> float:
        return self.tables.weight_formats[fmt.name].relative_rmse ** 2


@dataclass(frozen=True, slots=True)
class MeasuredCaches:
    """Judges by what this model lost with each pair.

    A pair that was not measured costs what its K and its V cost alone; one with a format that was
    not measured at all is left to another judge.
    """

    divergence: Mapping[tuple[str, str], float]  # nats per token by (K, V) format names
    otherwise: Caches

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        measured = self._measured(key, value)
        return self.otherwise.cost(key, value) if measured is None else measured

    def can_price(self, key: KVFormat, value: KVFormat) -> bool:
        return self._measured(key, value) is not None or self.otherwise.can_price(key, value)

    def _measured(self, key: KVFormat, value: KVFormat) -> float | None:
        pair = self.divergence.get((key.name, value.name))
        if pair is not None:
            return pair
        alone = (self.divergence.get((key.name, FULL)), self.divergence.get((FULL, value.name)))
        return None if None in alone else sum(cost for cost in alone if cost is not None)
