"""How long each row of a matrix in a GGUF file is: its rounding errors are so in proportion."""

from pathlib import Path

import numpy as np

from edgellm.converters.calibration.graph import F32Array
from edgellm.converters.gguf.ggml import load_ggml
from edgellm.gguf_file import GGUFTensor, read_gguf

_F32 = 0  # ggml's number; the one type that its library does not convert to itself
_PIECE_BYTES = 1 << 24


class RowLengths:
    """Lengths by llama.cpp's name of the matrix, each read once, when first asked for."""

    def __init__(self, gguf: Path) -> None:
        """gguf: in f32, f16, bf16 or q8_0. Raises FormatError."""
        file = read_gguf(gguf)
        self._path, self._start = file.path, file.data_offset
        self._tensors = {tensor.name: tensor for tensor in file.tensors}
        self._found: dict[str, F32Array] = {}

    def of(self, weight: str) -> F32Array:
        """Square root of each row's sum of squares: [rows]."""
        if weight not in self._found:
            self._found[weight] = self._read(self._tensors[weight])
        return self._found[weight]

    def _read(self, tensor: GGUFTensor) -> F32Array:
        rows = tensor.shape[0]
        step = max(1, _PIECE_BYTES * rows // tensor.bytes)
        pieces = [
            np.linalg.norm(self._rows(tensor, first, min(step, rows - first)), axis=1)
            for first in range(0, rows, step)
        ]
        return np.concatenate(pieces).astype(np.float32)

    def _rows(self, tensor: GGUFTensor, first: int, count: int) -> F32Array:
        rows, columns = tensor.shape
        row_bytes = tensor.bytes // rows
        offset = self._start + tensor.offset + first * row_bytes
        stored = np.fromfile(self._path, np.uint8, count * row_bytes, offset=offset)
        if tensor.ggml_type == _F32:
            return stored.view("<f4").reshape(count, columns)
        return load_ggml().dequantize(stored.reshape(count, -1), tensor.ggml_type, columns)
