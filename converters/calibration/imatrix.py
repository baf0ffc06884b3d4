"""llama.cpp's importance matrices: sums of squared inputs, in GGUF files that its tools share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.converters.gguf.tensors import gguf_names
from edgellm.converters.gguf.writer import aligned, header_bytes
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.files import write_file
from edgellm.gguf_file import GGUFFile, GGUFTensor, read_gguf
from edgellm.gguf_file.reader import MAX_TENSOR_NAME_BYTES
from edgellm.spec import ModelSpec, Role

F32Array = NDArray[np.float32]

_SUMS, _COUNTS = ".in_sum2", ".counts"
_F32 = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One matrix, or the experts of one: counts may differ from expert to expert."""

    sums: F32Array  # of squared inputs: [experts, input channels]
    counts: F32Array  # tokens behind each expert's sums: [experts]


@dataclass(frozen=True, slots=True)
class Imatrix:
    """One file; entries by llama.cpp's name of the matrix, such as blk.0.attn_q.weight."""

    entries: Mapping[str, Entry]
    datasets: Sequence[str] = ()  # names of the texts, for people
    chunk_count: int = 0
    chunk_size: int = 0  # tokens

    def moments(self, spec: ModelSpec) -> dict[str, F32Array]:
        """E[x_j^2] by checkpoint tensor name, of the matrices that have an entry with tokens.

        Raises InputError for an entry of another width, and when no entry is of this model.
        """
        found, names = {}, gguf_names(spec)
        for tensor in spec.tensors:
            entry = self.entries.get(names[tensor.name])
            if entry is None or not tensor.is_matrix or not entry.counts.sum():
                continue
            if entry.sums.shape != (1, tensor.shape[1]):
                raise InputError(
                    f"the imatrix is of another model: {tensor.name} has {tensor.shape[1]} input "
                    f"channels, its entry {' x '.join(map(str, entry.sums.shape))}"
                )
            found[tensor.name] = (entry.sums[0] / entry.counts[0]).astype(np.float32)
        if not found:
            raise InputError(f"the imatrix is of another model: it has no tensor of {spec.name}")
        return found

    def missing(self, spec: ModelSpec) -> Sequence[str]:
        """Checkpoint names of the matrices with inputs that have no entry, in the file's order."""
        found = self.moments(spec)
        return [
            tensor.name
            for tensor in spec.tensors
            if tensor.is_matrix and tensor.name not in found
            if spec.tied_embeddings or tensor.role is not Role.TOKEN_EMBEDDING
        ]


def with_imatrix(calibration: Calibration, imatrix: Imatrix, spec: ModelSpec) -> Calibration:
    """The calibration with the imatrix's input moments, where it has some, for its own.

    Raises InputError for an imatrix of another model.
    """
    moments = {**calibration.input_moments, **imatrix.moments(spec)}
    return replace(calibration, input_moments=moments)


def imatrix_of(calibration: Calibration, spec: ModelSpec, dataset: str, chunk_size: int) -> Imatrix:
    """A calibration's input moments as llama.cpp keeps them; chunk_size: tokens of a window."""
    names = gguf_names(spec)
    counts = np.array([calibration.tokens], dtype=np.float32)
    entries = {
        names[name]: Entry((moments * np.float32(calibration.tokens))[None], counts)
        for name, moments in calibration.input_moments.items()
    }
    return Imatrix(entries, (dataset,), calibration.tokens // chunk_size, chunk_size)


def write_imatrix(path: Path, imatrix: Imatrix) -> None:
    """Create or replace the file as llama-imatrix would write it. Raises OutputError."""
    writer = gguf.GGUFWriter(None, "")
    writer.kv_data[0].clear()  # the architecture: an imatrix has none
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", list(imatrix.datasets))
    writer.add_uint32("imatrix.chunk_count", imatrix.chunk_count)
    writer.add_uint32("imatrix.chunk_size", imatrix.chunk_size)
    tensors: dict[str, F32Array] = {}
    for name, entry in sorted(imatrix.entries.items()):
        tensors |= {name + _SUMS: entry.sums, name + _COUNTS: entry.counts[:, None]}
    for name, values in tensors.items():
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    parts = [header_bytes(writer), *(values.astype("<f4").tobytes() for values in tensors.values())]
    write_file(path, b"".join(map(aligned, parts)))


def read_imatrix(path: Path) -> Imatrix:
    """Read a file of llama-imatrix or of `write_imatrix`.

    Raises InputError when it cannot be read, UnsupportedError for llama.cpp's former layout,
    FormatError when it is something else or broken.
    """
    _refuse_former_layout(path)
    file = read_gguf(path)
    if file.metadata.get("general.type") != "imatrix":
        raise FormatError(path, "a GGUF file, but no imatrix: general.type does not say so")
    tensors = {tensor.name: _values(file, tensor) for tensor in file.tensors}
    names = sorted({name.removesuffix(_SUMS).removesuffix(_COUNTS) for name in tensors})
    return Imatrix(
        {name: _entry(path, tensors, name) for name in names},
        _datasets(file),
        _number(file, "imatrix.chunk_count"),
        _number(file, "imatrix.chunk_size"),
    )


def _refuse_former_layout(path: Path) -> None:
    """That one begins with two i32, the number of entries and the length of the first's name."""
    try:
        with path.open("rb") as file:
            begin = file.read(8 + MAX_TENSOR_NAME_BYTES)
    except OSError:
        return  # read_gguf says why
    name = begin[8 : 8 + int.from_bytes(begin[4:8], "little")]
    if name.endswith(b".weight"):
        raise UnsupportedError(
            f"{path}: an imatrix in llama.cpp's former .dat layout",
            ["imatrix in GGUF"],
            f"Convert it: llama-imatrix -m MODEL.gguf --in-file {path.name} -o imatrix.gguf",
        )


def _entry(path: Path, tensors: Mapping[str, F32Array], name: str) -> Entry:
    if name + _SUMS not in tensors or name + _COUNTS not in tensors:
        raise FormatError(path, f"{name!r} lacks {_SUMS} or {_COUNTS}; expected both")
    sums, counts = tensors[name + _SUMS], tensors[name + _COUNTS].reshape(-1)
    if sums.ndim > 2 or counts.size < 1 or sums.size % counts.size:
        raise FormatError(path, f"{name!r} has {sums.size} sums for {counts.size} counts")
    return Entry(sums.reshape(counts.size, -1), counts)


def _values(file: GGUFFile, tensor: GGUFTensor) -> F32Array:
    if tensor.ggml_type != _F32:
        raise FormatError(file.path, f"{tensor.name!r} is not f32, as an imatrix is")
    try:
        with file.path.open("rb") as stored:
            stored.seek(file.data_offset + tensor.offset)
            raw = stored.read(tensor.bytes)
    except OSError as error:
        raise InputError(f"{file.path}: cannot be read: {error.strerror or error}") from error
    values = np.frombuffer(raw, dtype="<f4").astype(np.float32)
    if not np.isfinite(values).all() or (values < 0).any():
        raise FormatError(file.path, f"{tensor.name!r} has sums or counts that are not >= 0")
    return values.reshape(tensor.shape)


def _datasets(file: GGUFFile) -> tuple[str, ...]:
    """The names; none when there are so many that they were left in the file."""
    names = file.metadata.get("imatrix.datasets", ())
    return tuple(map(str, names)) if isinstance(names, tuple) else ()


def _number(file: GGUFFile, key: str) -> int:
    value = file.metadata.get(key, 0)
    return value if isinstance(value, int) else 0
