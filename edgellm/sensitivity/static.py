"""Sensitivity by role and depth alone, from measured priors: no model is run."""

from dataclasses import dataclass
from typing import ClassVar

from edgellm.formats import Tables, WeightFormat
from edgellm.sensitivity.caches import Caches, StaticCaches
from edgellm.spec import ModelSpec, Role, TensorSpec


@dataclass(frozen=True, slots=True)
class StaticSensitivity:
    """Judges from a table of another model's measurements."""

    spec: ModelSpec
    tables: Tables

    has_imatrix: bool = False
    measured_caches: Caches | None = None  # judges K and V where they were measured

    name: ClassVar[str] = "static"

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        priors = self.tables.priors
        prior = priors.roles[tensor.role.value] * self._depth_weight(tensor.layer)
        if tensor.role is Role.TOKEN_EMBEDDING and self.spec.tied_embeddings:
            prior += priors.roles[Role.OUTPUT.value]
        return prior * weight_format.relative_rmse**2

    @property
    def caches(self) -> Caches:
        return self.measured_caches or StaticCaches(self.spec, self.tables)

    def _depth_weight(self, layer: int | None) -> float:
        if layer == 0:
            return self.tables.priors.first_layer
        return self.tables.priors.last_layer if layer == self.spec.layers - 1 else 1.0
