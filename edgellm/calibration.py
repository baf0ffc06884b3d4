"""What a text did to a model: what each linear's inputs were, and how much its outputs matter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Calibration:
    """Statistics by checkpoint tensor name; a cost is gain * expected squared output error."""

    tokens: int  # calibration tokens behind the input moments
    input_moments: Mapping[str, "NDArray[np.float32]"]  # E[x_j^2] of each input channel: [columns]
    noise_gain: Mapping[str, float]  # nats per token for each unit of squared error in the output
    head_gain: float | None = None  # of a tied embedding as output head
    # How much each output of a matrix counts, 1 on average: [rows]; all alike where it is absent.
    output_weights: Mapping[str, "NDArray[np.float32]"] = field(default_factory=dict)
