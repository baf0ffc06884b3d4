"""Everything in a GGUF file that comes before the weights, and where each weight ends."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import numpy as np
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint
from edgellm.converters.gguf.metadata import add_model_metadata, rope_frequency_factors
from edgellm.converters.gguf.tensors import OutputTensor
from edgellm.converters.gguf.vocabulary import add_vocabulary, read_vocabulary
from edgellm.families import FAMILIES
from edgellm.files import output_errors
from edgellm.spec import ModelSpec

_ROPE_FACTORS = "rope_freqs.weight"


def build_preamble(
    checkpoint: Checkpoint, spec: ModelSpec, tensors: Sequence[OutputTensor]
) -> bytes:
    """The file up to its first converted weight: header, metadata, vocabulary, tensor infos."""
    writer = gguf.GGUFWriter(None, FAMILIES[spec.family].gguf_architecture)
    add_model_metadata(writer, spec, checkpoint)
    add_vocabulary(writer, read_vocabulary(checkpoint, spec))
    # gguf-py writes to named files only; this one is a few MB, most of them vocabulary.
    with TemporaryDirectory(prefix="edgellm-") as folder:
        path = Path(folder) / "preamble"
        with output_errors(path):
            _write(writer, path, rope_frequency_factors(spec), tensors)
            return path.read_bytes()


def section_ends(preamble: bytes, tensors: Sequence[OutputTensor]) -> list[int]:
    """Where the preamble and then each tensor ends, padding included, in bytes."""
    return list(accumulate((_padded(tensor.bytes) for tensor in tensors), initial=len(preamble)))


def _write(
    writer: gguf.GGUFWriter,
    path: Path,
    rope_factors: NDArray[np.float32] | None,
    tensors: Sequence[OutputTensor],
) -> None:
    if rope_factors is not None:
        # First, so that the preamble can hold its bytes too.
        writer.add_tensor_info(
            _ROPE_FACTORS, rope_factors.shape, rope_factors.dtype, rope_factors.nbytes
        )
    for tensor in tensors:
        # The type goes in as a number: gguf-py's own list of types is behind ggml's.
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, tensor.format.ggml_type
        )
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        (file,) = writer.fout
        writer.write_padding(file, file.tell())
        if rope_factors is not None:
            writer.write_tensor_data(rope_factors)
    finally:
        writer.close()


def _padded(length: int) -> int:
    return int(gguf.GGUFWriter.ggml_pad(length, gguf.GGUF_DEFAULT_ALIGNMENT))
