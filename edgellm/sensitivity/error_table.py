"""What rounding to each format does to each tensor, as a rounding measured it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorError:
    """The squared error that one format gives one tensor."""

    # Expected, of the output: sum_kj w_k E[x_j^2] dW_kj^2, with w_k the output weights, 1 on
    # average; 0 where there are no inputs.
    output: float
    row: float  # of one row, mean over the rows: what looking up an embedding meets


ErrorTable = Mapping[str, Mapping[str, TensorError]]  # by tensor, then by format
