"""Check and describe a GGUF file before any library that trusts it opens it.

Layout: header, metadata pairs, tensor infos, padding, tensor data; all little-endian. The limits
are far above any real model and far below what hurts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from os import PathLike
from pathlib import Path
from types import MappingProxyType

from edgellm.errors import InputError, UnsupportedError
from edgellm.gguf_file.cursor import Cursor
from edgellm.gguf_file.metadata import (
    ALIGNMENT_KEY,
    GGUFArray,
    Scalar,
    Value,
    load_short_array,
    read_pairs,
)
from edgellm.gguf_file.vocabulary import check_vocabulary

MAGIC = b"GGUF"
MAX_KEYS = 65_536
MAX_TENSORS = 65_536
MAX_TENSOR_NAME_BYTES = 63  # ggml keeps names in 64 bytes
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 65_536
MAX_SPLITS = 1024
DEFAULT_ALIGNMENT = 32

# ggml type: elements per block, bytes per block.
TYPE_BLOCKS: Mapping[int, tuple[int, int]] = MappingProxyType(
    {
        0: (1, 4),  # f32
        1: (1, 2),  # f16
        2: (32, 18),  # q4_0
        3: (32, 20),  # q4_1
        6: (32, 22),  # q5_0
        7: (32, 24),  # q5_1
        8: (32, 34),  # q8_0
        9: (32, 36),  # q8_1
        10: (256, 84),  # q2_K
        11: (256, 110),  # q3_K
        12: (256, 144),  # q4_K
        13: (256, 176),  # q5_K
        14: (256, 210),  # q6_K
        15: (256, 292),  # q8_K
        16: (256, 66),  # iq2_xxs
        17: (256, 74),  # iq2_xs
        18: (256, 98),  # iq3_xxs
        19: (256, 50),  # iq1_s
        20: (32, 18),  # iq4_nl
        21: (256, 110),  # iq3_s
        22: (256, 82),  # iq2_s
        23: (256, 136),  # iq4_xs
        24: (1, 1),  # i8
        25: (1, 2),  # i16
        26: (1, 4),  # i32
        27: (1, 8),  # i64
        28: (1, 8),  # f64
        29: (256, 56),  # iq1_m
        30: (1, 2),  # bf16
        34: (256, 54),  # tq1_0
        35: (256, 66),  # tq2_0
        39: (32, 17),  # mxfp4
        40: (64, 36),  # nvfp4
        41: (128, 18),  # q1_0
        42: (64, 18),  # q2_0
    }
)


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]  # [rows, columns] as in TensorSpec; the file stores the reverse
    ggml_type: int
    offset: int  # from GGUFFile.data_offset
    bytes: int


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """A GGUF file whose every length, offset and count has been checked against its size."""

    path: Path
    version: int
    alignment: int
    metadata: Mapping[str, Value]
    tensors: tuple[GGUFTensor, ...]
    data_offset: int


def read_gguf(path: str | PathLike[str]) -> GGUFFile:
    """Check the file and describe it; the tensor data is not read.

    Raises FormatError for a broken file, UnsupportedError for a version nobody loads, InputError
    when it cannot be opened.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file, expected a GGUF file")
    try:
        with Path(path).open("rb") as file:
            size_bytes = file.seek(0, 2)
            file.seek(0)
            return _read(Cursor(path, file, size_bytes), Path(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(cursor: Cursor, path: Path) -> GGUFFile:
    version = _version(cursor)
    n_tensors = _count(cursor, "tensors", MAX_TENSORS)
    n_keys = _count(cursor, "metadata keys", MAX_KEYS)
    pairs = read_pairs(cursor, n_keys)
    after_pairs = cursor.position
    check_vocabulary(cursor, pairs)
    metadata = {key: _loaded_if_short(cursor, value) for key, value in pairs.items()}
    alignment = _alignment(cursor, metadata)
    _check_splits(cursor, metadata)
    cursor.seek(after_pairs)
    tensors = _tensors(cursor, n_tensors, alignment)
    data_offset = cursor.position + -cursor.position % alignment
    _check_data_fits(cursor, tensors, data_offset)
    return GGUFFile(path, version, alignment, MappingProxyType(metadata), tensors, data_offset)


def _version(cursor: Cursor) -> int:
    magic = cursor.take(min(len(MAGIC), cursor.remaining_bytes), "the magic")
    if magic != MAGIC:
        raise cursor.error(f"not a GGUF file: it starts with {magic!r}, expected b'GGUF'")
    version = cursor.u32("the version")
    if version and version & 0xFFFF == 0:
        raise UnsupportedError(
            f"{cursor.path}: big-endian GGUF", ["little-endian GGUF version 2 and 3"]
        )
    if version not in (2, 3):
        raise UnsupportedError(
            f"{cursor.path}: GGUF version {version}", ["2", "3"], "Convert the model again"
        )
    return version


def _count(cursor: Cursor, what: str, limit: int) -> int:
    count = cursor.u64(f"the number of {what}")
    if count > limit:
        raise cursor.error(f"claims {count} {what}; at most {limit} are allowed")
    return count


def _loaded_if_short(cursor: Cursor, value: Scalar | GGUFArray) -> Value:
    return load_short_array(cursor, value) if isinstance(value, GGUFArray) else value


def _alignment(cursor: Cursor, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    assert isinstance(alignment, int), "read_pairs lets only u32 through"
    if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.error(
            f"{ALIGNMENT_KEY} is {alignment}; expected a power of two up to {MAX_ALIGNMENT}"
        )
    return alignment


def _check_splits(cursor: Cursor, metadata: Mapping[str, Value]) -> None:
    splits = metadata.get("split.count", 1)
    if not isinstance(splits, int) or not 0 <= splits <= MAX_SPLITS:
        raise cursor.error(f"split.count is {splits!r}; expected a number up to {MAX_SPLITS}")


def _tensors(cursor: Cursor, count: int, alignment: int) -> tuple[GGUFTensor, ...]:
    tensors: list[GGUFTensor] = []
    names: set[str] = set()
    expected_offset = 0
    for index in range(count):
        tensor = _tensor(cursor, index)
        if tensor.name in names:
            raise cursor.error(f"tensor {tensor.name!r} appears twice")
        if tensor.offset != expected_offset:
            raise cursor.error(
                f"tensor {tensor.name!r} lies at data offset {tensor.offset}, expected "
                f"{expected_offset} (aligned to {alignment}, no gaps)"
            )
        names.add(tensor.name)
        tensors.append(tensor)
        expected_offset += tensor.bytes + -tensor.bytes % alignment
    return tuple(tensors)


def _tensor(cursor: Cursor, index: int) -> GGUFTensor:
    name = cursor.text(f"the name of tensor {index}", MAX_TENSOR_NAME_BYTES)
    dimensions = cursor.u32(f"the dimensions of tensor {name!r}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.error(f"tensor {name!r} has {dimensions} dimensions; expected 1 to 4")
    shape = tuple(cursor.u64(f"the shape of tensor {name!r}") for _ in range(dimensions))
    if min(shape) < 1 or prod(shape) >= 1 << 63:
        raise cursor.error(f"tensor {name!r} has impossible shape {list(shape)}")
    ggml_type = cursor.u32(f"the type of tensor {name!r}")
    size_bytes = _tensor_bytes(cursor, name, shape, ggml_type)
    offset = cursor.u64(f"the offset of tensor {name!r}")
    return GGUFTensor(name, shape[::-1], ggml_type, offset, size_bytes)


def _tensor_bytes(cursor: Cursor, name: str, shape: tuple[int, ...], ggml_type: int) -> int:
    """shape: as stored, the row length first."""
    if ggml_type not in TYPE_BLOCKS:
        raise cursor.error(f"tensor {name!r} has unknown ggml type {ggml_type}")
    block, block_bytes = TYPE_BLOCKS[ggml_type]
    if shape[0] % block:
        raise cursor.error(
            f"tensor {name!r} has rows of {shape[0]} elements; ggml type {ggml_type} needs a "
            f"multiple of {block}"
        )
    return prod(shape) // block * block_bytes


def _check_data_fits(cursor: Cursor, tensors: tuple[GGUFTensor, ...], data_offset: int) -> None:
    """Tensors are contiguous, so the last one decides."""
    if not tensors:
        return
    last = tensors[-1]
    missing = data_offset + last.offset + last.bytes - (cursor.position + cursor.remaining_bytes)
    if missing > 0:
        raise cursor.error(
            f"tensor data ends {missing} bytes after the file does (tensor {last.name!r}); "
            "the file is truncated, fetch or convert it again"
        )
