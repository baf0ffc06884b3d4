"""The one interface between a converter and the search for a tensor's codes."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgellm.converters.gguf.ggml import Ggml
from edgellm.formats import WeightFormat

F32Array = NDArray[np.float32]
Blocks = NDArray[np.uint8]


class Rounding(Protocol):
    """Chooses codes and scales; each row on its own, in any thread."""

    @property
    def identity(self) -> str:
        """Changes whenever the same rows would become other bytes."""

    def pack(self, rows: F32Array, weight_format: WeightFormat, moments: F32Array | None) -> Blocks:
        """Rows in a format's blocks: [n_rows, n_columns] to [n_rows, bytes of one row].

        moments: how much a squared error counts in each column, in any unit: [n_columns]; None
        where nothing was measured, which a format that `needs_imatrix` cannot do without.
        """


class GgmlRounding:
    """ggml's own search, as llama_model_quantize uses it: the moments are its imatrix."""

    def __init__(self, ggml: Ggml) -> None:
        self._ggml = ggml

    @property
    def identity(self) -> str:
        return f"ggml {self._ggml.version}"

    def pack(self, rows: F32Array, weight_format: WeightFormat, moments: F32Array | None) -> Blocks:
        return self._ggml.quantize(rows, weight_format.ggml_type, moments)
