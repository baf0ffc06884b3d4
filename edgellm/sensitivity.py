"""What a coarser tensor or cache costs a model: predicted KL divergence, in nats per token."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from edgellm.formats import KVFormat, Tables, WeightFormat
from edgellm.spec import ModelSpec, Role, TensorSpec


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
    """Judges by role and depth alone, from measured priors: no model is run."""

    spec: ModelSpec
    tables: Tables

    name: ClassVar[str] = "static"
    has_imatrix: ClassVar[bool] = False

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        priors = self.tables.priors
        prior = priors.roles[tensor.role.value] * self._depth_weight(tensor.layer)
        if tensor.role is Role.TOKEN_EMBEDDING and self.spec.tied_embeddings:
            prior += priors.roles[Role.OUTPUT.value]
        return prior * weight_format.relative_rmse**2

    def kv_cost(self, key: KVFormat, value: KVFormat) -> float:
        priors = self.tables.priors
        key_cost = priors.key_cache * self._error_power(key)
        value_cost = priors.value_cache * self._error_power(value)
        return self.spec.layers * (key_cost + value_cost)

    def _error_power(self, fmt: KVFormat) -> float:
        return self.tables.weight_formats[fmt.name].relative_rmse ** 2

    def _depth_weight(self, layer: int | None) -> float:
        if layer == 0:
            return self.tables.priors.first_layer
        return self.tables.priors.last_layer if layer == self.spec.layers - 1 else 1.0
