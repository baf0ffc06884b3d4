"""What the planner asks of a sensitivity mode."""

from typing import Protocol

from edgellm.formats import WeightFormat
from edgellm.sensitivity.caches import Caches
from edgellm.spec import TensorSpec


class Sensitivity(Protocol):
    """Judges every choice the planner has in one unit; costs of several tensors add up."""

    @property
    def name(self) -> str:
        """The mode's name, as plans record it."""

    @property
    def has_imatrix(self) -> bool:
        """Whether input statistics will guide the rounding, as some formats demand."""

    @property
    def caches(self) -> Caches:
        """What judges the caches of K and V; its costs add to those of the tensors."""

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        """Nats per token that storing a matrix in a format costs."""
