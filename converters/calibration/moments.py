"""Second moments of every matrix's inputs, the diagonal of E[x x^T]."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgellm.converters.calibration.graph import MATRIX_PRODUCT, Node
from edgellm.errors import RuntimeFailure

F64Array = NDArray[np.float64]


class InputSquares:
    """Sums the squares of each input channel over one window of text."""

    def __init__(self, columns: Mapping[str, int]) -> None:
        """columns: input channels by llama.cpp's name of the matrix."""
        self._columns = columns
        self._by_address: dict[int, F64Array] = {}  # inputs that several matrices share
        self.sums: dict[str, F64Array] = {}

    def wants(self, node: Node) -> bool:
        return node.operation == MATRIX_PRODUCT and node.weight in self._columns

    def see(self, node: Node) -> None:
        address = node.input_address
        if address not in self._by_address:
            inputs = node.inputs()
            self._by_address[address] = np.einsum("tc,tc->c", inputs, inputs, dtype=np.float64)
        self.sums[node.weight] = self._by_address[address]

    def checked(self) -> Mapping[str, F64Array]:
        """The sums, once the window has run. Raises RuntimeFailure for a matrix with none."""
        for weight, columns in self._columns.items():
            sums = self.sums.get(weight)
            if sums is None or sums.shape != (columns,) or not np.isfinite(sums).all():
                raise RuntimeFailure("llama.cpp", f"the inputs of {weight} could not be observed")
        return self.sums
