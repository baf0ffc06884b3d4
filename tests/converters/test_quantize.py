from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.converters.gguf.ggml import Ggml, load_ggml
from edgellm.converters.gguf.quantize import interleave_halves, quantized_chunks
from edgellm.converters.gguf.tensors import OutputTensor
from edgellm.converters.rounding.rounding import GgmlRounding
from edgellm.errors import EdgeLLMError, FormatError, RuntimeFailure, UnsupportedError
from edgellm.formats import WeightFormat
from edgellm.quant_tables import load_tables
from tests.support.checkpoints import write_checkpoint, write_weights

GGML = load_ggml()
ROUNDING = GgmlRounding(GGML)
FORMATS = load_tables().weight_formats
PLAIN = [fmt for fmt in FORMATS.values() if not fmt.needs_imatrix]


def checkpoint_of(
    folder: Path, values: NDArray[np.float32], dtype: str = "F32"
) -> tuple[Checkpoint, OutputTensor]:
    """A checkpoint with one tensor, and that tensor as f32 output."""
    write_checkpoint(folder)
    write_weights(folder, {"w": values}, dtype)
    return open_checkpoint(folder), OutputTensor("w", "w", values.shape, FORMATS["f32"], None)


def as_format(
    tensor: OutputTensor, fmt: WeightFormat, head_rows: int | None = None
) -> OutputTensor:
    return OutputTensor(tensor.name, tensor.source, tensor.shape, fmt, head_rows)


def quantized(checkpoint: Checkpoint, tensor: OutputTensor, threads: int = 2) -> bytes:
    chunks = quantized_chunks(checkpoint, [tensor], ROUNDING, threads, {})
    return b"".join(blocks.tobytes() for _, blocks in chunks)


@pytest.fixture
def noise() -> NDArray[np.float32]:
    # 3 MiB: more than one chunk.
    return np.random.default_rng(0).standard_normal((1536, 512), dtype=np.float32)


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=lambda fmt: fmt.name)
def test_ggml_knows_the_format_by_the_same_name_and_block(fmt: WeightFormat) -> None:
    known = (GGML.type_name, GGML.block, GGML.block_bytes)
    assert [ask(fmt.ggml_type) for ask in known] == [fmt.name, fmt.block, fmt.block_bytes]


def test_blocks_read_back_within_half_a_step(noise: NDArray[np.float32]) -> None:
    q8_0 = FORMATS["q8_0"].ggml_type
    again = GGML.dequantize(GGML.quantize(noise, q8_0), q8_0, noise.shape[1])
    largest = np.abs(noise).reshape(-1, 32).max(axis=1)
    error = np.abs(again - noise).reshape(-1, 32).max(axis=1)
    # Half of a 127th, and half of float16's last place, since the scale is one.
    assert (error <= largest * (0.5 / 127 + 2**-11)).all()


def test_a_library_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match=r"llama\.cpp: .*libggml-base\.so cannot be used"):
        Ggml(tmp_path / "libggml-base.so")


@pytest.mark.parametrize("fmt", PLAIN, ids=lambda fmt: fmt.name)
def test_chunks_give_the_bytes_of_one_call_for_the_whole_tensor(
    tmp_path: Path, noise: NDArray[np.float32], fmt: WeightFormat
) -> None:
    rows = noise[:1100]
    checkpoint, tensor = checkpoint_of(tmp_path, rows)
    whole = GGML.quantize(np.ascontiguousarray(rows), fmt.ggml_type)
    assert quantized(checkpoint, as_format(tensor, fmt)) == whole.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_number_of_threads_does_not_change_a_byte(
    tmp_path: Path, noise: NDArray[np.float32], threads: int
) -> None:
    checkpoint, tensor = checkpoint_of(tmp_path, noise)
    target = as_format(tensor, FORMATS["q8_0"])
    assert quantized(checkpoint, target, threads) == quantized(checkpoint, target, 3)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_stored_floats_pass_through_their_own_format_unchanged(
    tmp_path: Path, noise: NDArray[np.float32], dtype: str
) -> None:
    checkpoint, tensor = checkpoint_of(tmp_path, noise, dtype)
    stored = checkpoint.stored["w"]
    raw = stored.path.read_bytes()[stored.start_byte : stored.end_byte]
    assert quantized(checkpoint, as_format(tensor, FORMATS[dtype.lower()])) == raw


def test_a_row_longer_than_a_chunk_is_one_chunk(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((2, 600_064), dtype=np.float32)
    checkpoint, tensor = checkpoint_of(tmp_path, rows)
    whole = GGML.quantize(rows, FORMATS["q8_0"].ggml_type)
    assert quantized(checkpoint, as_format(tensor, FORMATS["q8_0"])) == whole.tobytes()


def test_rotated_halves_of_a_head_are_interleaved() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(12, 1)
    mixed = interleave_halves(rows, 6).ravel()
    assert mixed.tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


def test_heads_are_interleaved_alike_whatever_the_chunks(
    tmp_path: Path, noise: NDArray[np.float32]
) -> None:
    checkpoint, tensor = checkpoint_of(tmp_path, noise)
    target = as_format(tensor, FORMATS["f32"], head_rows=96)
    assert quantized(checkpoint, target) == interleave_halves(noise, 96).tobytes()


def test_a_bias_is_interleaved_like_the_rows_it_belongs_to(tmp_path: Path) -> None:
    bias = np.arange(256, dtype=np.float32)
    checkpoint, tensor = checkpoint_of(tmp_path, bias)
    target = as_format(tensor, FORMATS["f32"], head_rows=64)
    assert quantized(checkpoint, target) == interleave_halves(bias, 64).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["f32", "bf16", "q4_K"])
def test_a_weight_that_is_not_finite_is_named_with_its_index(
    tmp_path: Path, noise: NDArray[np.float32], value: float, name: str
) -> None:
    noise[1234, 56] = value
    checkpoint, tensor = checkpoint_of(tmp_path, noise)
    with pytest.raises(FormatError, match=r"tensor w is -?(nan|inf) at \[1234, 56\]"):
        quantized(checkpoint, as_format(tensor, FORMATS[name]))


def test_a_weight_too_large_for_its_format_is_refused_where_it_would_become_infinite(
    tmp_path: Path, noise: NDArray[np.float32]
) -> None:
    noise[7, 8] = -1e5
    checkpoint, tensor = checkpoint_of(tmp_path, noise)
    with pytest.raises(UnsupportedError, match=r"is -100000 at \[7, 8\], too large for f16"):
        quantized(checkpoint, as_format(tensor, FORMATS["f16"]))
    assert np.isfinite(np.frombuffer(quantized(checkpoint, tensor), np.float32)).all()


def test_a_source_cut_short_meanwhile_is_an_error_not_a_hang(
    tmp_path: Path, noise: NDArray[np.float32]
) -> None:
    checkpoint, tensor = checkpoint_of(tmp_path, noise)
    path = checkpoint.stored["w"].path
    path.write_bytes(path.read_bytes()[: 1 << 20])
    with pytest.raises(EdgeLLMError, match="ends inside tensor 'w'"):
        quantized(checkpoint, tensor)


def test_stopping_early_ends_the_threads(tmp_path: Path, noise: NDArray[np.float32]) -> None:
    import threading

    checkpoint, tensor = checkpoint_of(tmp_path, noise)
    chunks = quantized_chunks(checkpoint, [tensor] * 50, ROUNDING, 2, {})
    next(chunks)
    chunks.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("quantize")]
