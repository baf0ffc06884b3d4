"""What coarser caches of K and V cost, whichever mode judges the weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgellm.formats import KVFormat, Tables
from edgellm.spec import ModelSpec


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
    """Judges by what this model lost with each pair; a pair named by hand falls back on another."""

    divergence: Mapping[tuple[str, str], float]  # nats per token by (K, V) format names
    otherwise: Caches

    def cost(self, key: KVFormat, value: KVFormat) -> float:
        measured = self.divergence.get((key.name, value.name))
        return self.otherwise.cost(key, value) if measured is None else measured
