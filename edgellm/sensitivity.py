"""What a coarser tensor or cache costs a model: predicted KL divergence, in nats per token."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from edgellm.formats import KVFormat, Tables, WeightFormat
from edgellm.spec import ModelSpec, TensorSpec


class Sensitivity(Protocol):
    """Judges every choice the planner has in one unit; costs of several tensors add up."""

    @property
    def name(self) -> str:
        """The mode's name, as plans record it."""

    @property
    def has_imatrix(self) -> bool:
        """Whether input statistics will guide the rounding, as some formats demand."""

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        """Nats per token that storing a matrix in a format costs."""

    def kv_cost(self, key: KVFormat, value: KVFormat) -> float:
        """Nats per token that keeping K and V in two formats costs."""


@dataclass(frozen=True, slots=True)
class StaticSensitivity:
    """Judges by role and depth alone, from measured priors: no model is run.

    A tensor costs prior(role) * its share of the role's depth weights * relative error power. The
    shares of one role add up to 1, so a deeper model is not thereby a more sensitive one.
    """

    tables: Tables
    layers: int

    name: ClassVar[str] = "static"
    has_imatrix: ClassVar[bool] = False

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        prior = self.tables.priors.roles[tensor.role.value]
        return prior * self._share(tensor.layer) * weight_format.relative_rmse**2

    def kv_cost(self, key: KVFormat, value: KVFormat) -> float:
        priors = self.tables.priors
        return priors.key_cache * self._error_power(key) + priors.value_cache * self._error_power(
            value
        )

    def _error_power(self, fmt: KVFormat) -> float:
        return self.tables.weight_formats[fmt.name].relative_rmse ** 2

    def _share(self, layer: int | None) -> float:
        if layer is None:
            return 1.0
        total = sum(self._depth_weight(index) for index in range(self.layers))
        return self._depth_weight(layer) / total

    def _depth_weight(self, layer: int) -> float:
        if layer == 0:
            return self.tables.priors.first_layer
        return self.tables.priors.last_layer if layer == self.layers - 1 else 1.0


def static_sensitivity(spec: ModelSpec, tables: Tables) -> StaticSensitivity:
    """The static judgement of one model."""
    return StaticSensitivity(tables, spec.layers)
