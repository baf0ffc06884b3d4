"""What rounding to each format does to each tensor, as a rounding measured it."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgellm.errors import InputError
from edgellm.formats import Tables, WeightFormat
from edgellm.spec import ModelSpec, TensorSpec


@dataclass(frozen=True, slots=True)
class TensorError:
    """The error that one format gives one tensor."""

    # Squared, expected, of the output: sum_kj w_k E[x_j^2] dW_kj^2, with w_k the output weights, 1
    # on average; 0 where there are no inputs.
    output: float
    row: float  # squared, of one row, mean over the rows: what looking up an embedding meets
    slope: float = 0.0  # sum G dW with G a loss's gradient: nats per token; 0 where there is none

    def scaled(self, ratio: float) -> "TensorError":
        """Of the same error, `ratio` times as large."""
        return TensorError(ratio**2 * self.output, ratio**2 * self.row, ratio * self.slope)


ErrorTable = Mapping[str, Mapping[str, TensorError]]  # by tensor, then by format


def error_in(
    errors: ErrorTable, tables: Tables, tensor: TensorSpec, weight_format: WeightFormat
) -> TensorError:
    """The measured error; of a format named by hand, the nearest measured one's, scaled."""
    measured = errors[tensor.name]
    if found := measured.get(weight_format.name):
        return found
    formats = tables.weight_formats
    wanted = weight_format.relative_rmse
    nearest = min(measured, key=lambda name: abs(formats[name].relative_rmse - wanted))
    return measured[nearest].scaled(wanted / formats[nearest].relative_rmse)


def check_errors(errors: ErrorTable, spec: ModelSpec) -> None:
    """Raises InputError where the errors of a matrix are missing."""
    for tensor in spec.tensors:
        if tensor.is_matrix and not errors.get(tensor.name):
            raise InputError(f"the error table lacks {tensor.name}; measure this model's errors")
