"""Rows of stored tensors, compared bit for bit with torch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from edgellm.checkpoint import StoredTensor
from edgellm.checkpoint.rows import read_rows
from edgellm.checkpoint.safetensors_header import read_header
from edgellm.errors import FormatError, InputError
from edgellm.spec import DType
from tests.support.checkpoints import write_raw_safetensors, write_safetensors

TORCH_TYPES = {DType.F16: torch.float16, DType.BF16: torch.bfloat16}


def every_16_bit_value(path: Path, dtype: DType) -> StoredTensor:
    header = f'{{"a":{{"dtype":"{dtype}","shape":[256,256],"data_offsets":[0,131072]}}}}'
    write_raw_safetensors(path, header.encode(), np.arange(65536, dtype="<u2").tobytes())
    return read_header(path)["a"]


@pytest.mark.parametrize("dtype", list(TORCH_TYPES))
def test_every_16_bit_value_reads_as_torch_converts_it(dtype: DType, tmp_path: Path) -> None:
    rows = read_rows(every_16_bit_value(tmp_path / "a.safetensors", dtype), 0, 256)
    bits = torch.arange(65536, dtype=torch.int32).to(torch.uint16)
    expected = bits.view(TORCH_TYPES[dtype]).float().numpy().reshape(256, 256)
    np.testing.assert_array_equal(rows, expected)
    finite = ~np.isnan(expected)
    assert (rows.view(np.uint32)[finite] == expected.view(np.uint32)[finite]).all()


def test_f32_reads_back_bit_for_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, (7, 5), dtype=np.uint32)
    write_safetensors(tmp_path / "a.safetensors", {"a": bits.view(np.float32)})
    rows = read_rows(read_header(tmp_path / "a.safetensors")["a"], 0, 7)
    assert (rows.view(np.uint32) == bits).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 256), (3, 4), (255, 256), (10, 10), (0, 0)])
def test_a_range_of_rows_is_that_range(start: int, stop: int, tmp_path: Path) -> None:
    tensor = every_16_bit_value(tmp_path / "a.safetensors", DType.BF16)
    whole = read_rows(tensor, 0, 256)
    np.testing.assert_array_equal(read_rows(tensor, start, stop), whole[start:stop])


def test_a_vector_reads_as_a_vector(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "a.safetensors", {"a": np.arange(9, dtype=np.float32)}, "F16")
    rows = read_rows(read_header(tmp_path / "a.safetensors")["a"], 2, 5)
    assert rows.tolist() == [2.0, 3.0, 4.0]


def test_threads_read_at_once(tmp_path: Path) -> None:
    tensor = every_16_bit_value(tmp_path / "a.safetensors", DType.BF16)
    whole = read_rows(tensor, 0, 256)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda row: read_rows(tensor, row, row + 1)[0], range(256)))
    np.testing.assert_array_equal(np.stack(rows), whole)


def test_a_file_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensor = every_16_bit_value(path, DType.F16)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="ends inside tensor 'a'"):
        read_rows(tensor, 255, 256)


def test_a_file_that_vanished_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensor = every_16_bit_value(path, DType.F16)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        read_rows(tensor, 0, 1)
