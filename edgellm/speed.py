"""What decoding one token takes on a machine, as the planner asks for it."""

from typing import Protocol

from edgellm.formats import WeightFormat
from edgellm.memory import RunSettings
from edgellm.spec import ModelSpec, TensorSpec


class DecodeCost(Protocol):
    """Prices what one decoded token reads; times of several tensors add up."""

    def tensor_seconds(
        self, spec: ModelSpec, tensor: TensorSpec, weight_format: WeightFormat
    ) -> float:
        """What multiplying by a tensor takes; nothing for rows that are only looked up."""

    def run_seconds(self, spec: ModelSpec, run: RunSettings) -> float:
        """What a token takes beside the matrices: reading the caches, and all that is fixed."""
