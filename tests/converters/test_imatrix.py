"""Importance matrices in llama.cpp's own GGUF layout."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.calibration import Calibration
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.calibration.imatrix import (
    Entry,
    Imatrix,
    imatrix_of,
    read_imatrix,
    with_imatrix,
    write_imatrix,
)
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.families import read_spec
from edgellm.spec import ModelSpec
from tests.support.calibrations import made_up_calibration
from tests.support.checkpoints import BUNDLED

NAMES = st.text("abcdefghijklmnop.0123456789_", min_size=1, max_size=40)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return read_spec(open_checkpoint(BUNDLED))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    experts, columns = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    sums = random.exponential(1e3, (experts, columns)).astype(np.float32)
    return Entry(sums, random.integers(0, 9999, experts).astype(np.float32))


def llama_imatrix_file(path: Path, sums: np.ndarray, counts: np.ndarray) -> Path:
    """The calls of llama-imatrix's save_imatrix, through gguf-py."""
    writer = gguf.GGUFWriter(str(path), "unused")
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["novels.txt"])
    writer.add_uint32("imatrix.chunk_count", 3)
    writer.add_uint32("imatrix.chunk_size", 512)
    writer.add_tensor("blk.0.attn_q.weight.in_sum2", sums)
    writer.add_tensor("blk.0.attn_q.weight.counts", counts)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@given(st.dictionaries(NAMES, entries(), min_size=1, max_size=4), st.lists(NAMES, max_size=3))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, Entry], datasets: list[str]
) -> None:
    path = tmp_path_factory.mktemp("imatrix") / "imatrix.gguf"
    write_imatrix(path, Imatrix(found, datasets, 7, 512))
    back = read_imatrix(path)
    assert (list(back.datasets), back.chunk_count, back.chunk_size) == (datasets, 7, 512)
    assert back.entries.keys() == found.keys()
    for name, entry in found.items():
        np.testing.assert_array_equal(back.entries[name].sums, entry.sums)
        np.testing.assert_array_equal(back.entries[name].counts, entry.counts)


def test_a_file_has_the_keys_and_tensors_of_llama_imatrix(tmp_path: Path) -> None:
    entry = Entry(np.ones((1, 8), np.float32), np.array([512], np.float32))
    write_imatrix(tmp_path / "i.gguf", Imatrix({"blk.0.ffn_up.weight": entry}, ("a.txt",), 1, 512))
    reader = gguf.GGUFReader(tmp_path / "i.gguf")
    own = {name for name in reader.fields if not name.startswith("GGUF.")}
    keys = {"general.type", "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"}
    assert own == keys
    shapes = {tensor.name: tensor.shape.tolist() for tensor in reader.tensors}
    expected = {"blk.0.ffn_up.weight.in_sum2": [8, 1], "blk.0.ffn_up.weight.counts": [1, 1]}
    assert shapes == expected


def test_moments_of_llama_imatrix_files_go_by_checkpoint_names(
    tmp_path: Path, spec: ModelSpec
) -> None:
    sums = np.arange(256, dtype=np.float32)[None]
    path = llama_imatrix_file(tmp_path / "i.gguf", sums, np.array([[1536]], np.float32))
    moments = read_imatrix(path).moments(spec)
    assert list(moments) == ["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_allclose(moments["model.layers.0.self_attn.q_proj.weight"], sums[0] / 1536)


def test_moments_of_a_calibration_survive_the_file(tmp_path: Path, spec: ModelSpec) -> None:
    random = np.random.default_rng(0)
    matrices = [tensor for tensor in spec.tensors if tensor.is_matrix]
    moments = {t.name: random.exponential(1, t.shape[1]).astype(np.float32) for t in matrices}
    write_imatrix(
        tmp_path / "i.gguf", imatrix_of(Calibration(4096, moments, {}), spec, "mine", 256)
    )
    back = read_imatrix(tmp_path / "i.gguf")
    assert (back.chunk_count, back.chunk_size, back.datasets) == (16, 256, ("mine",))
    for name, values in back.moments(spec).items():
        np.testing.assert_allclose(values, moments[name], rtol=1e-6)


def test_an_imatrix_replaces_what_it_has_and_names_what_it_lacks(
    tmp_path: Path, spec: ModelSpec
) -> None:
    sums = np.arange(256, dtype=np.float32)[None]
    path = llama_imatrix_file(tmp_path / "i.gguf", sums, np.array([[2]], np.float32))
    measured, imatrix = made_up_calibration(spec), read_imatrix(path)
    mixed = with_imatrix(measured, imatrix, spec)
    changed = {
        name
        for name, moments in mixed.input_moments.items()
        if not np.array_equal(moments, measured.input_moments[name])
    }
    assert changed == {"model.layers.0.self_attn.q_proj.weight"}
    np.testing.assert_array_equal(mixed.input_moments[min(changed)], sums[0] / 2)
    assert mixed.noise_gain == measured.noise_gain
    assert set(imatrix.missing(spec)) == measured.input_moments.keys() - changed


def test_the_former_layout_is_refused_by_name(tmp_path: Path) -> None:
    # As llama-imatrix --output-format dat writes it.
    name = b"blk.0.attn_k.weight"
    numbers = np.array([11, 2], "<i4").tobytes() + np.ones(2, "<f4").tobytes()
    counts = np.array([1, len(name)], "<i4").tobytes()
    (tmp_path / "old.dat").write_bytes(counts + name + numbers)
    with pytest.raises(UnsupportedError, match=r"former .dat layout.*llama-imatrix -m"):
        read_imatrix(tmp_path / "old.dat")


def test_an_imatrix_of_another_width_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    path = llama_imatrix_file(
        tmp_path / "i.gguf", np.ones((1, 512), np.float32), np.array([[9]], np.float32)
    )
    with pytest.raises(InputError, match="of another model"):
        read_imatrix(path).moments(spec)


@pytest.mark.parametrize(
    ("sums", "counts"),
    [
        (np.full((1, 8), np.nan, np.float32), np.ones((1, 1), np.float32)),
        (np.full((1, 8), -1, np.float32), np.ones((1, 1), np.float32)),
        (np.ones((1, 8), np.float32), np.ones((3, 1), np.float32)),
        (np.ones((1, 8), np.float16), np.ones((1, 1), np.float32)),
    ],
    ids=["nan", "negative", "counts", "type"],
)
def test_broken_statistics_are_refused(
    tmp_path: Path, sums: np.ndarray, counts: np.ndarray
) -> None:
    with pytest.raises(FormatError):
        read_imatrix(llama_imatrix_file(tmp_path / "i.gguf", sums, counts))


def test_a_model_is_not_an_imatrix(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(str(tmp_path / "m.gguf"), "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(FormatError, match="no imatrix"):
        read_imatrix(tmp_path / "m.gguf")
