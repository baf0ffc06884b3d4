"""libggml-base through ctypes: the functions that turn float32 rows into blocks.

The library comes with llama-cpp-python and is loaded by its absolute path: importing llama_cpp
itself takes longer than many conversions, and would load every other library of llama.cpp too.
"""

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.errors import RuntimeFailure

_LIBRARY_NAMES = {"win32": "ggml-base.dll", "darwin": "libggml-base.dylib"}
_Pointer = ctypes.c_void_p
_ROW_FUNCTION = ctypes.CFUNCTYPE(None, _Pointer, _Pointer, ctypes.c_int64)
_PROTOTYPES = {
    "ggml_blck_size": (ctypes.c_int64, [ctypes.c_int]),
    "ggml_commit": (ctypes.c_char_p, []),
    "ggml_get_type_traits": (_Pointer, [ctypes.c_int]),
    "ggml_quantize_chunk": (
        ctypes.c_size_t,
        [ctypes.c_int, _Pointer, _Pointer, *[ctypes.c_int64] * 3, _Pointer],
    ),
    "ggml_quantize_requires_imatrix": (ctypes.c_bool, [ctypes.c_int]),
    "ggml_row_size": (ctypes.c_size_t, [ctypes.c_int, ctypes.c_int64]),
    "ggml_type_name": (ctypes.c_char_p, [ctypes.c_int]),
    "ggml_type_size": (ctypes.c_size_t, [ctypes.c_int]),
    "ggml_version": (ctypes.c_char_p, []),
}


class _TypeTraits(ctypes.Structure):
    """struct ggml_type_traits, up to the last member used here."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", _ROW_FUNCTION),
    )


class Ggml:
    """The library; every method releases the GIL while ggml works and may run in any thread."""

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
            for name, (result, arguments) in _PROTOTYPES.items():
                function = getattr(self._library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise RuntimeFailure("llama.cpp", f"{path} cannot be used: {error}") from error

    @property
    def version(self) -> str:
        """Release and commit, such as "0.25.3 (0c1e570)"."""
        release, commit = self._library.ggml_version(), self._library.ggml_commit()
        return f"{release.decode()} ({commit.decode()})"

    def type_name(self, ggml_type: int) -> str:
        name: bytes = self._library.ggml_type_name(ggml_type)
        return name.decode()

    def block(self, ggml_type: int) -> int:
        """Weights in one block."""
        return int(self._library.ggml_blck_size(ggml_type))

    def block_bytes(self, ggml_type: int) -> int:
        return int(self._library.ggml_type_size(ggml_type))

    def row_bytes(self, ggml_type: int, columns: int) -> int:
        return int(self._library.ggml_row_size(ggml_type, columns))

    def requires_imatrix(self, ggml_type: int) -> bool:
        """Whether quantizing without input statistics would abort the process."""
        return bool(self._library.ggml_quantize_requires_imatrix(ggml_type))

    def quantize(
        self,
        rows: NDArray[np.float32],
        ggml_type: int,
        imatrix: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Quantize, or convert to a float type, as llama.cpp's own quantizer does.

        rows: [n_rows, n_columns], contiguous, n_columns a multiple of the type's block.
        imatrix: how much a squared error counts in each column: [n_columns], contiguous.
        Returns [n_rows, bytes of one row].
        """
        n_rows, n_columns = rows.shape
        assert rows.flags.c_contiguous
        assert n_columns % self.block(ggml_type) == 0, (rows.shape, ggml_type)
        assert imatrix is not None or not self.requires_imatrix(ggml_type), ggml_type
        assert imatrix is None or (imatrix.flags.c_contiguous and imatrix.shape == (n_columns,))
        blocks = np.empty((n_rows, self.row_bytes(ggml_type, n_columns)), dtype=np.uint8)
        written = self._library.ggml_quantize_chunk(
            ggml_type,
            rows.ctypes.data,
            blocks.ctypes.data,
            0,
            n_rows,
            n_columns,
            None if imatrix is None else imatrix.ctypes.data,
        )
        assert written == blocks.nbytes, (written, blocks.nbytes)
        return blocks

    def dequantize(
        self, blocks: NDArray[np.uint8], ggml_type: int, columns: int
    ) -> NDArray[np.float32]:
        """Read blocks back: [n_rows, bytes of one row] to [n_rows, columns]."""
        assert blocks.flags.c_contiguous
        assert blocks.shape[1] == self.row_bytes(ggml_type, columns), blocks.shape
        traits = _TypeTraits.from_address(self._library.ggml_get_type_traits(ggml_type))
        rows = np.empty((blocks.shape[0], columns), dtype=np.float32)
        traits.to_float(blocks.ctypes.data, rows.ctypes.data, rows.size)
        return rows


@cache
def load_ggml() -> Ggml:
    """The library of the installed llama-cpp-python. Raises RuntimeFailure when there is none."""
    return Ggml(library_path())


def library_path() -> Path:
    """Where the installed llama-cpp-python keeps libggml-base. Raises RuntimeFailure."""
    package = find_spec("llama_cpp")
    if package is None or not package.submodule_search_locations:
        raise RuntimeFailure(
            "llama.cpp", "llama-cpp-python is not installed; pip install llama-cpp-python"
        )
    name = _LIBRARY_NAMES.get(sys.platform, "libggml-base.so")
    return Path(package.submodule_search_locations[0]) / "lib" / name
