"""Bytes of the streaming quantizer against llama.cpp's own llama_model_quantize."""

from pathlib import Path

import numpy as np
import pytest

from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.tensors import output_tensors
from edgellm.families import read_spec
from edgellm.formats import WeightFormat
from edgellm.gguf_file import read_gguf
from edgellm.quant_tables import load_tables
from tests.support.calibrations import made_up_calibration
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.llama_cpp_reference import llama_model_quantize
from tests.support.plans import fixed_plan

TABLES = load_tables()
QUANTIZED = [fmt for fmt in TABLES.weight_formats.values() if fmt.block > 1]
BLOCKS = [fmt for fmt in QUANTIZED if not fmt.needs_imatrix]
# tests/converters/test_ggml_rounding.py shows how guided iq3_s differs.
GUIDED = [fmt for fmt in QUANTIZED if fmt.name != "iq3_s"]


def tensor_bytes(path: Path) -> dict[str, tuple[int, bytes]]:
    """Type and bytes of every tensor; gguf-py's reader does not know q2_0."""
    file, content = read_gguf(path), path.read_bytes()
    starts = {tensor.name: file.data_offset + tensor.offset for tensor in file.tensors}
    return {
        tensor.name: (tensor.ggml_type, content[starts[tensor.name] :][: tensor.bytes])
        for tensor in file.tensors
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sharded, untied bf16 with GQA, whose Q and K rows must be permuted."""
    folder = tmp_path_factory.mktemp("checkpoint")
    return tiny_checkpoint(folder, dtype="BF16", shards=3, num_hidden_layers=1)


@pytest.fixture(scope="module")
def full_precision(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that llama.cpp starts from."""
    return convert_folder(checkpoint, tmp_path_factory.mktemp("full") / "f32", "f32").gguf


@pytest.mark.parametrize("fmt", BLOCKS, ids=lambda fmt: fmt.name)
def test_every_tensor_has_the_bytes_that_llama_model_quantize_writes(
    checkpoint: Path, full_precision: Path, tmp_path: Path, fmt: WeightFormat
) -> None:
    ours = convert_folder(checkpoint, tmp_path / "ours", fmt.name).gguf
    matrices = [t.name for t in read_gguf(full_precision).tensors if len(t.shape) == 2]
    llama_model_quantize(
        full_precision, tmp_path / "theirs.gguf", dict.fromkeys(matrices, fmt.ggml_type)
    )
    assert tensor_bytes(ours) == tensor_bytes(tmp_path / "theirs.gguf")


@pytest.mark.parametrize("fmt", GUIDED, ids=lambda fmt: fmt.name)
def test_with_a_calibration_they_are_what_the_same_imatrix_makes(
    checkpoint: Path, full_precision: Path, tmp_path: Path, fmt: WeightFormat
) -> None:
    spec = read_spec(open_checkpoint(checkpoint))
    calibration = made_up_calibration(spec)
    ours = convert_folder(checkpoint, tmp_path / "ours", fmt.name, calibration=calibration).gguf
    named = output_tensors(spec, fixed_plan(spec, TABLES, "f32"), TABLES)
    imatrix = {
        tensor.name: calibration.input_moments[tensor.source]
        for tensor in named
        if tensor.source in calibration.input_moments
    }
    # llama.cpp never measures the embedding; ours treats the columns of its rows alike.
    imatrix["token_embd.weight"] = np.ones(spec.hidden_size, dtype=np.float32)
    types = dict.fromkeys(imatrix, fmt.ggml_type)
    llama_model_quantize(full_precision, tmp_path / "theirs.gguf", types, imatrix=imatrix)
    assert tensor_bytes(ours) == tensor_bytes(tmp_path / "theirs.gguf")
