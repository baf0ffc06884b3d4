"""Rows of a stored tensor as float32, read without mapping the file.

A mapped file would count every touched page as this process's memory; what a conversion needs is
measured, so rows are read into buffers of their own.
"""

from io import FileIO

import numpy as np
from numpy.typing import NDArray

from edgellm.checkpoint.safetensors_header import StoredTensor
from edgellm.errors import FormatError, InputError
from edgellm.json_file import os_reason
from edgellm.spec import DType

F32Array = NDArray[np.float32]

_STORED_AS = {DType.F32: "<f4", DType.F16: "<f2", DType.BF16: "<u2"}


def read_rows(tensor: StoredTensor, start: int, stop: int) -> F32Array:
    """Rows [start, stop) of a tensor of any rank >= 1: [stop - start, *shape[1:]], exact.

    Raises InputError when the file has become unreadable, FormatError when it has shrunk.
    """
    assert 0 <= start <= stop <= tensor.shape[0], (tensor, start, stop)
    stored = np.empty((stop - start, *tensor.shape[1:]), dtype=_STORED_AS[tensor.dtype])
    try:
        with tensor.path.open("rb", buffering=0) as file:
            file.seek(tensor.start_byte + start * tensor.row_bytes)
            complete = _fill(file, stored.reshape(-1).view(np.uint8).data)
    except OSError as error:
        raise InputError(f"{tensor.path}: cannot be read: {os_reason(error)}") from error
    if not complete:
        raise FormatError(tensor.path, f"ends inside tensor {tensor.name!r}")
    return (
        _bf16_to_f32(stored)
        if tensor.dtype is DType.BF16
        else stored.astype(np.float32, copy=False)
    )


def _fill(file: FileIO, buffer: memoryview) -> bool:
    """Read until the buffer is full, as one read may return less. False when the file ends."""
    filled = 0
    while filled < len(buffer):
        count = file.readinto(buffer[filled:])
        if not count:
            return False
        filled += count
    return True


def _bf16_to_f32(stored: NDArray[np.uint16]) -> F32Array:
    """bfloat16 is the upper half of a float32."""
    return np.left_shift(stored, 16, dtype=np.uint32).view(np.float32)
