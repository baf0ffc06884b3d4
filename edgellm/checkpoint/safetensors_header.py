"""The header of a safetensors file, checked before anything else opens the file.

Layout: 8 bytes little-endian header length, a JSON object, the tensors' bytes. Stricter than the
safetensors library: duplicate keys are refused, and so are headers made to exhaust memory.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

from edgellm.checkpoint.fields import Fields
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.json_file import file_bytes, os_reason, parse_json, show
from edgellm.spec import DType
from edgellm.units import format_bytes

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 100_000
MAX_RANK = 8
MAX_VALUES = 10 * MAX_TENSORS  # keeps what a hostile header becomes below 200 MB
MAX_OFFSET = 2**63 - 1
_LENGTH_BYTES = 8
_METADATA = "__metadata__"

# What the other element types of the format usually mean in a language model.
_PACKED = "packed low-bit weights (GPTQ, AWQ, bitsandbytes or a graph's integers)"
_OTHER_DTYPES = {
    "F64": "64-bit floats",
    "F8_E4M3": "8-bit floats (FP8)",
    "F8_E5M2": "8-bit floats (FP8)",
    "F8_E8M0": "microscaling (MX) scales",
    "F6_E2M3": "6-bit floats (MX)",
    "F6_E3M2": "6-bit floats (MX)",
    "F4": "4-bit floats (MX)",
    **dict.fromkeys(("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"), _PACKED),
    "BOOL": "booleans",
    "C64": "complex numbers",
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor's bytes are."""

    name: str
    path: Path
    dtype: DType
    shape: tuple[int, ...]
    start_byte: int  # from the start of the file
    end_byte: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one entry of the first dimension."""
        return prod(self.shape[1:]) * self.dtype.item_bytes


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Read every tensor's place from a safetensors file, in the order of their bytes.

    Raises FormatError for a file that breaks the format, UnsupportedError for element types other
    than F32, F16 and BF16.
    """
    total_bytes = file_bytes(path)
    raw = _header_bytes(path, total_bytes)
    body_start = _LENGTH_BYTES + len(raw)
    document = parse_json(raw, path, MAX_VALUES)
    _check_metadata(document.pop(_METADATA, None), path)
    if len(document) > MAX_TENSORS:
        raise FormatError(path, f"lists {len(document)} tensors; at most {MAX_TENSORS} are read")
    tensors = [_stored_tensor(path, name, entry, body_start) for name, entry in document.items()]
    tensors.sort(key=lambda tensor: (tensor.start_byte, tensor.end_byte))
    _check_contiguous(path, tensors, body_start, total_bytes)
    return {tensor.name: tensor for tensor in tensors}


def _header_bytes(path: Path, total_bytes: int) -> bytes:
    if total_bytes < _LENGTH_BYTES + len(b"{}"):
        raise FormatError(path, f"{total_bytes} bytes are too few for a safetensors file")
    try:
        with path.open("rb") as file:
            length = file.read(_LENGTH_BYTES)
            (header_bytes,) = struct.unpack("<Q", length)
            _check_header_length(path, length, header_bytes, total_bytes)
            raw = file.read(header_bytes)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from error
    if len(raw) < header_bytes:
        raise FormatError(path, "the file shrank while it was read")
    if not raw.startswith(b"{"):
        raise FormatError(path, f"header starts with {show(raw[:4])}; expected '{{'", _LENGTH_BYTES)
    return raw


def _check_header_length(path: Path, length: bytes, header_bytes: int, total_bytes: int) -> None:
    if length.startswith(b"GGUF"):
        raise FormatError(path, "is a GGUF file, not safetensors; give the GGUF file itself")
    if length.startswith(b"version "):
        raise FormatError(path, "is a Git LFS pointer, not the weights; fetch them: git lfs pull")
    if header_bytes > MAX_HEADER_BYTES:
        raise FormatError(
            path,
            f"header of {header_bytes} bytes; at most {format_bytes(MAX_HEADER_BYTES)} is read",
        )
    if header_bytes > total_bytes - _LENGTH_BYTES:
        raise FormatError(
            path,
            f"truncated: header of {header_bytes} bytes, file of {total_bytes}; download it again",
        )


def _check_metadata(metadata: object, path: Path) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise FormatError(path, f"{_METADATA} is {show(metadata)}; expected strings by name")


def _stored_tensor(path: Path, name: str, entry: object, body_start: int) -> StoredTensor:
    if not isinstance(entry, dict):
        raise FormatError(path, f"tensor {show(name)} is {show(entry)}; expected an object")
    fields = Fields(path, entry, f"tensor {show(name)}: ")
    dtype = _dtype(fields)
    shape = fields.integers("shape", high=MAX_OFFSET)
    if not isinstance(entry.get("shape"), list) or len(shape) > MAX_RANK:
        raise fields.fault("shape", f"a list of at most {MAX_RANK} dimensions")
    offsets = fields.integers("data_offsets", high=MAX_OFFSET)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise fields.fault("data_offsets", "[start, end]")
    start, end = offsets
    needed = prod(shape) * dtype.item_bytes
    if end - start != needed:
        raise FormatError(
            path,
            f"tensor {show(name)}: shape {show(list(shape))} of {dtype} takes {needed} bytes; "
            f"data_offsets give it {end - start}",
        )
    return StoredTensor(name, path, dtype, shape, body_start + start, body_start + end)


def _dtype(fields: Fields) -> DType:
    written = fields.text("dtype") or ""
    if written in DType.__members__.values():
        return DType(written)
    if written not in _OTHER_DTYPES:
        raise fields.fault("dtype", "a safetensors element type")
    raise UnsupportedError(
        f"{fields.path}: {fields.prefix}dtype {written}, {_OTHER_DTYPES[written]}",
        tuple(DType),
        "Use the unquantized checkpoint that this one was made from",
    )


def _check_contiguous(
    path: Path, tensors: list[StoredTensor], body_start: int, total_bytes: int
) -> None:
    """Every byte after the header belongs to exactly one tensor: no room for a second file."""
    reached = body_start
    for tensor in tensors:
        if tensor.start_byte != reached:
            fault = "overlaps the one before it" if tensor.start_byte < reached else "leaves a hole"
            raise FormatError(path, f"tensor {show(tensor.name)} {fault}", tensor.start_byte)
        reached = tensor.end_byte
    if reached > total_bytes:
        raise FormatError(
            path, f"truncated: {total_bytes} of {reached} bytes are there; download it again"
        )
    if reached < total_bytes:
        raise FormatError(path, f"{total_bytes - reached} bytes after the last tensor", reached)
