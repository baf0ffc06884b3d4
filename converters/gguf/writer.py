"""Everything in a GGUF file that comes before the weights, and where each weight ends."""

from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate

import gguf
import numpy as np
from gguf.gguf_writer import WriterState

from edgellm.checkpoint import Checkpoint
from edgellm.converters.gguf.metadata import add_model_metadata, rope_frequency_factors
from edgellm.converters.gguf.tensors import OutputTensor
from edgellm.converters.gguf.tokenizer_check import check_tokenizer
from edgellm.converters.gguf.vocabulary import add_vocabulary, read_vocabulary
from edgellm.families import FAMILIES
from edgellm.spec import ModelSpec

_ROPE_FACTORS = "rope_freqs.weight"


def build_preamble(
    checkpoint: Checkpoint, spec: ModelSpec, tensors: Sequence[OutputTensor]
) -> bytes:
    """The file up to its first converted weight: header, metadata, vocabulary, tensor infos.

    Raises InputError for a tokenizer that llama.cpp would not follow token by token.
    """
    vocabulary = read_vocabulary(checkpoint, spec)
    check_tokenizer(checkpoint, vocabulary)
    writer = gguf.GGUFWriter(None, FAMILIES[spec.family].gguf_architecture)
    add_model_metadata(writer, spec, checkpoint)
    add_vocabulary(writer, vocabulary)
    rope_factors = rope_frequency_factors(spec)
    if rope_factors is not None:
        # First, so that its bytes can follow right here.
        writer.add_tensor_info(
            _ROPE_FACTORS, rope_factors.shape, rope_factors.dtype, rope_factors.nbytes
        )
    for tensor in tensors:
        # The type goes in as a number: gguf-py's own list of types is behind ggml's.
        writer.add_tensor_info(
            tensor.name, tensor.shape, np.dtype(np.float32), tensor.bytes, tensor.format.ggml_type
        )
    constants = b"" if rope_factors is None else rope_factors.tobytes()
    return aligned(aligned(header_bytes(writer)) + constants)


def section_ends(preamble: bytes, tensors: Sequence[OutputTensor]) -> list[int]:
    """Where the preamble and then each tensor ends, padding included, in bytes."""
    return list(accumulate((_padded(tensor.bytes) for tensor in tensors), initial=len(preamble)))


def header_bytes(writer: gguf.GGUFWriter) -> bytes:
    """What the writer would put before the weights: metadata and tensor infos."""
    file = BytesIO()
    # gguf-py opens files by name only, but writes to whatever is open.
    writer.fout, writer.state = [file], WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return file.getvalue()


def aligned(content: bytes) -> bytes:
    """Padded, so that what follows lies as GGUF wants it."""
    return content.ljust(_padded(len(content)), b"\0")


def _padded(length: int) -> int:
    return int(gguf.GGUFWriter.ggml_pad(length, gguf.GGUF_DEFAULT_ALIGNMENT))
