"""The one interface between a converter and the search for a tensor's codes."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgellm.converters.gguf.ggml import Ggml
from edgellm.formats import WeightFormat

F32Array = NDArray[np.float32]
Blocks = NDArray[np.uint8]

# ggml enlarges iq3_s by a fixed 3 %, which suits rounding without statistics. With them outputs
# come out 2 % too large, a fifth of what the format costs; the others that planners choose lose
# at most a twentieth so (`python -m benchmarks.quality.scales`).
_BIASED = "iq3_s"
_MOST_CORRECTED = 1.25  # a row that is all but lost stays as ggml left it


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
    """ggml's own search, as llama_model_quantize uses it: the moments are its imatrix.

    With moments, the scales of iq3_s are then corrected, row by row, so that outputs keep their
    size on average: sum_j m_j w_j q_j = sum_j m_j w_j^2. Errors that enlarge or shrink whole
    outputs cost more than their squares say, since they add up through the layers.
    """

    def __init__(self, ggml: Ggml) -> None:
        self._ggml = ggml

    @property
    def identity(self) -> str:
        return f"ggml {self._ggml.version}, unbiased {_BIASED}"

    def pack(self, rows: F32Array, weight_format: WeightFormat, moments: F32Array | None) -> Blocks:
        blocks = self._ggml.quantize(rows, weight_format.ggml_type, moments)
        if moments is not None and weight_format.name == _BIASED:
            rounded = self._ggml.dequantize(blocks, weight_format.ggml_type, rows.shape[1])
            _scale_rows(blocks, weight_format, _corrections(rows, rounded, moments))
        return blocks


def _scale_rows(blocks: Blocks, weight_format: WeightFormat, ratios: F32Array) -> None:
    """Make each row larger, in place, by its ratio: [n_rows]. Blocks start with their scale."""
    for first in range(0, blocks.shape[1], weight_format.block_bytes):
        scales = blocks[:, first : first + 2].copy().view(np.float16)
        blocks[:, first : first + 2] = (scales * ratios[:, None]).astype(np.float16).view(np.uint8)


def _corrections(rows: F32Array, rounded: F32Array, moments: F32Array) -> F32Array:
    """What makes outputs as large as they were, on average; 1 where that is out of reach."""
    wanted = np.einsum("kj,kj,j->k", rows, rows, moments, dtype=np.float64)
    found = np.einsum("kj,kj,j->k", rows, rounded, moments, dtype=np.float64)
    in_reach = (
        (wanted > 0) & (wanted < _MOST_CORRECTED * found) & (found < _MOST_CORRECTED * wanted)
    )
    ratios = np.divide(wanted, found, out=np.ones_like(wanted), where=in_reach)
    corrections: F32Array = ratios.astype(np.float32)
    return corrections
