"""One operation of the graph that llama.cpp is running, seen from its evaluation callback."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from numpy.typing import NDArray

from edgellm.converters.gguf.ggml import library_path
from edgellm.errors import RuntimeFailure

F32Array = NDArray[np.float32]

MATRIX_PRODUCT, ROW_LOOKUP = "MUL_MAT", "GET_ROWS"  # as ggml_op_name calls them
_F32 = 0
_Pointer = ctypes.c_void_p
_PROTOTYPES = {
    "ggml_element_size": (ctypes.c_size_t, [_Pointer]),
    "ggml_free": (None, [_Pointer]),
    "ggml_get_data": (_Pointer, [_Pointer]),
    "ggml_get_name": (ctypes.c_char_p, [_Pointer]),
    "ggml_mul_mat": (_Pointer, [_Pointer, _Pointer, _Pointer]),
    "ggml_nbytes": (ctypes.c_size_t, [_Pointer]),
    "ggml_nelements": (ctypes.c_int64, [_Pointer]),
    "ggml_new_tensor_2d": (_Pointer, [_Pointer, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]),
    "ggml_op_name": (ctypes.c_char_p, [ctypes.c_int]),
    "ggml_set_name": (_Pointer, [_Pointer, ctypes.c_char_p]),
    "ggml_tensor_overhead": (ctypes.c_size_t, []),
}
_OBJECT_BYTES = 32  # struct ggml_object, which precedes each tensor in a context
_SCRATCH_BYTES = 1 << 16


class _Tensor(ctypes.Structure):
    """struct ggml_tensor of ggml.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", _Pointer),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", _Pointer * 10),
        ("view_src", _Pointer),
        ("view_offs", ctypes.c_size_t),
        ("data", _Pointer),
        ("name", ctypes.c_char * 64),
        ("extra", _Pointer),
        ("padding", ctypes.c_char * 8),
    )


class _Scratch(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", _Pointer),
        ("no_alloc", ctypes.c_bool),
    )


class Node:
    """An operation whose first source is a weight; valid only inside the callback."""

    __slots__ = ("_library", "_tensor")

    def __init__(self, library: ctypes.CDLL, address: int) -> None:
        self._library = library
        self._tensor = _Tensor.from_address(address)

    @property
    def operation(self) -> str:
        name: bytes = self._library.ggml_op_name(self._tensor.op)
        return name.decode()

    @property
    def weight(self) -> str:
        """Name of the first source; empty when there is none."""
        address = self._tensor.src[0]
        return _Tensor.from_address(address).name.decode("utf-8", "replace") if address else ""

    @property
    def input_address(self) -> int:
        """Tells the inputs of one pass apart: q, k and v have the same."""
        return int(self._tensor.src[1])

    def inputs(self) -> F32Array:
        """What the weight is multiplied with: [tokens, input channels], not a copy."""
        return _rows(_Tensor.from_address(self.input_address))

    def outputs(self) -> F32Array:
        """The result, once computed: [tokens, output channels]; writing changes the run."""
        return _rows(self._tensor)


def _rows(tensor: _Tensor) -> F32Array:
    """A contiguous F32 tensor in host memory as a matrix, not a copy."""
    columns, rows, *rest = tensor.ne
    contiguous = tuple(tensor.nb[:2]) == (4, 4 * columns)
    if tensor.type != _F32 or rest != [1, 1] or not contiguous or not tensor.data:
        name = tensor.name.decode("utf-8", "replace")
        raise RuntimeFailure("llama.cpp", f"{name} is not a plain F32 matrix; nothing can read it")
    values = (ctypes.c_float * (rows * columns)).from_address(tensor.data)
    return np.frombuffer(values, dtype=np.float32).reshape(rows, columns)


@cache
def graph_library() -> ctypes.CDLL:
    """libggml-base, its tensors laid out as this module reads them. Raises RuntimeFailure."""
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        library.ggml_init.restype, library.ggml_init.argtypes = _Pointer, [_Scratch]
    except (OSError, AttributeError) as error:
        raise RuntimeFailure("llama.cpp", f"{path} cannot be used: {error}") from error
    _check_layout(library)
    return library


def _check_layout(library: ctypes.CDLL) -> None:
    """Compare a product of two tensors as this module reads it with what the library says."""
    wanted = ctypes.sizeof(_Tensor) + _OBJECT_BYTES
    if library.ggml_tensor_overhead() != wanted:
        raise _unknown_layout(
            f"a tensor takes {library.ggml_tensor_overhead()} bytes, not {wanted}"
        )
    with _scratch(library) as context:
        weight = library.ggml_new_tensor_2d(context, _F32, 8, 3)
        inputs = library.ggml_new_tensor_2d(context, _F32, 8, 5)
        product = library.ggml_mul_mat(context, weight, inputs)
        library.ggml_set_name(product, b"product")
        for address in (weight, inputs, product):
            if _as_read(address) != _as_reported(library, address):
                raise _unknown_layout("shape, data or name are elsewhere")
        node = _Tensor.from_address(product)
        sources = tuple(node.src[:3])
        if sources != (weight, inputs, None) or tuple(node.ne) != (3, 5, 1, 1):
            raise _unknown_layout("sources are elsewhere")
        if not 0 < node.op < 64 or Node(library, product).operation != MATRIX_PRODUCT:
            raise _unknown_layout("the operation is elsewhere")


def _as_read(address: int) -> tuple[object, ...]:
    tensor = _Tensor.from_address(address)
    elements = int(np.prod(list(tensor.ne)))
    span = tensor.nb[0] + sum((n - 1) * b for n, b in zip(tensor.ne, tensor.nb, strict=True))
    return elements, span, tensor.nb[0], tensor.data, tensor.name


def _as_reported(library: ctypes.CDLL, address: int) -> tuple[object, ...]:
    return (
        library.ggml_nelements(address),
        library.ggml_nbytes(address),
        library.ggml_element_size(address),
        library.ggml_get_data(address),
        library.ggml_get_name(address),
    )


@contextmanager
def _scratch(library: ctypes.CDLL) -> Iterator[int]:
    context = library.ggml_init(_Scratch(_SCRATCH_BYTES, None, False))
    if not context:
        raise RuntimeFailure("llama.cpp", "no memory to check how tensors are laid out")
    try:
        yield context
    finally:
        library.ggml_free(context)


def _unknown_layout(problem: str) -> RuntimeFailure:
    return RuntimeFailure(
        "llama.cpp",
        f"this build lays tensors out in an unknown way: {problem}; known: llama-cpp-python 0.3.36",
    )
