"""What coarser caches of K and V cost, whichever mode judges the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgellm.formats import KVFormat, Tables
from edgellm.spec import ModelSpec

FULL = "f16"  # the format that the others are compared with


class Caches(Protocol):
    """Judges pairs of cache formats."""

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        """Nats per token that keeping K and V in two formats costs."""


@dataclass(frozen=True, slots=True)
class StaticCaches:
    """Judges from measured priors of another model."""

    spec: ModelSpec
    tables: Tables

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        priors = self.tables.priors
        key_cost = priors.key_cache * self._error_power(key)
        value_cost = priors.value_cache * self._error_power(value)
        return self.spec.layers * (key_cost + value_cost)

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
        measured = self.divergence.get((key.name, value.name))
        if measured is not None:
            return measured
        alone = (self.divergence.get((key.name, FULL)), self.divergence.get((FULL, value.name)))
        if None in alone:
            return self.otherwise.cost(key, value)
        return sum(cost for cost in alone if cost is not None)
