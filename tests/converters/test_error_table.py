"""Errors of formats, measured through the rounding, against plain arithmetic."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

import edgellm.converters.rounding.sample as sample
from edgellm.bundled import bundled_checkpoint
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.converters.gguf.ggml import load_ggml
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.converters.rounding.rounding import GgmlRounding
from edgellm.converters.rounding.sample import sample_rows
from edgellm.errors import FormatError
from edgellm.families import read_spec
from edgellm.formats import WeightFormat
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.quant_tables import load_tables
from edgellm.sensitivity.error_table import ErrorTable
from edgellm.spec import ModelSpec
from tests.support.calibrations import made_up_calibration
from tests.support.checkpoints import random_tensors, write_checkpoint, write_weights
from tests.support.conversions import convert_folder

TABLES = load_tables()
DOWN = "model.layers.0.mlp.down_proj.weight"
F32Array = NDArray[np.float32]


class CountingRounding(GgmlRounding):
    """ggml's rounding, which counts its calls."""

    def __init__(self) -> None:
        super().__init__(load_ggml())
        self.calls = 0

    def pack(
        self, rows: F32Array, weight_format: WeightFormat, moments: F32Array | None
    ) -> NDArray[np.uint8]:
        self.calls += 1
        return super().pack(rows, weight_format, moments)


@pytest.fixture(scope="module", autouse=True)
def _small_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "EXACT_WEIGHTS", 1 << 14)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, num_hidden_layers=1, intermediate_size=256, tokenizer=True)
    return open_checkpoint(folder)


@pytest.fixture(scope="module")
def spec(checkpoint: Checkpoint) -> ModelSpec:
    return read_spec(checkpoint)


@pytest.fixture(scope="module")
def calibration(spec: ModelSpec) -> Calibration:
    return made_up_calibration(spec)


def measured(
    checkpoint: Checkpoint,
    calibration: Calibration,
    *,
    threads: int = 2,
    cache: Path | None = None,
    rounding: GgmlRounding | None = None,
    gradients: Mapping[str, F32Array] | None = None,
    progress: ProgressSink = ignore_progress,
) -> ErrorTable:
    spec = read_spec(checkpoint)
    return measure_errors(
        checkpoint,
        spec,
        TABLES,
        calibration,
        threads=threads,
        cache=cache,
        rounding=rounding,
        gradients=gradients,
        progress=progress,
    )


def only_down(checkpoint: Checkpoint) -> ModelSpec:
    """The model as if one matrix were all of it."""
    spec = read_spec(checkpoint)
    return replace(spec, tensors=tuple(t for t in spec.tensors if t.name == DOWN))


@pytest.fixture(scope="module")
def table(checkpoint: Checkpoint, calibration: Calibration) -> ErrorTable:
    return measured(checkpoint, calibration)


def test_an_error_is_that_of_the_file_the_conversion_writes(
    checkpoint: Checkpoint,
    calibration: Calibration,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sample, "EXACT_WEIGHTS", 1 << 16)
    moments = calibration.input_moments[DOWN]
    alone = replace(calibration, input_moments={DOWN: moments})
    table = measure_errors(checkpoint, only_down(checkpoint), TABLES, alone, threads=2)
    for name in ("q4_K", "iq2_xxs", "q8_0"):
        out = tmp_path / name
        written = convert_folder(checkpoint.folder, out, name, calibration=calibration)
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(written.gguf).tensors}
        stored = tensors["blk.0.ffn_down.weight"]
        again = gguf.dequantize(stored.data, stored.tensor_type).astype(np.float64)
        squares = (again - checkpoint.read_rows(DOWN, 0, 256)) ** 2
        assert table[DOWN][name].output == pytest.approx((squares * moments).sum(), rel=1e-5)
        assert table[DOWN][name].row == pytest.approx(squares.sum() / 256, rel=1e-5)


def test_every_matrix_has_every_plannable_format(table: ErrorTable, spec: ModelSpec) -> None:
    plannable = {fmt.name for fmt in TABLES.weight_formats.values() if fmt.plannable}
    assert {name: set(row) for name, row in table.items()} == {
        tensor.name: plannable for tensor in spec.tensors if tensor.is_matrix
    }


def test_rows_that_do_not_divide_have_their_fallbacks(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, intermediate_size=96, num_hidden_layers=1)
    checkpoint = open_checkpoint(folder)
    table = measured(checkpoint, made_up_calibration(read_spec(checkpoint)))
    assert set(table[DOWN]) == {"q4_0", "q5_0", "q5_1", "q8_0", "iq4_nl"}


def test_a_sample_of_rows_comes_close_to_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(bundled_checkpoint())
    alone = only_down(checkpoint)
    calibration = made_up_calibration(alone)
    tables = []
    for exact_weights in (1 << 16, 1 << 30):
        monkeypatch.setattr(sample, "EXACT_WEIGHTS", exact_weights)
        tables.append(measure_errors(checkpoint, alone, TABLES, calibration, threads=2))
    sampled, whole = (table[DOWN] for table in tables)
    for name, error in whole.items():
        assert sampled[name].output == pytest.approx(error.output, rel=0.1), name
        assert sampled[name].row == pytest.approx(error.row, rel=0.1), name


def test_slopes_are_the_gradient_times_the_change_of_the_weights(
    checkpoint: Checkpoint, calibration: Calibration, spec: ModelSpec
) -> None:
    random, (rows, columns) = np.random.default_rng(3), (256, 256)
    tensor = next(tensor for tensor in spec.tensors if tensor.name == DOWN)
    at = sample_rows(tensor, calibration).at
    gradient = random.standard_normal((len(at), columns), dtype=np.float32)
    found = measured(checkpoint, calibration, gradients={DOWN: gradient})[DOWN]
    assert tensor.shape == (rows, columns)
    assert len(at) == rows // 4
    weights = checkpoint.read_rows(DOWN, 0, rows)[at].astype(np.float64)
    for name in ("q8_0", "q4_K"):
        kind = gguf.GGMLQuantizationType[name.upper()]
        moments = calibration.input_moments[DOWN]
        packed = GgmlRounding(load_ggml()).pack(
            weights.astype(np.float32), TABLES.weight_formats[name], moments
        )
        change = gguf.quants.dequantize(packed, kind) - weights
        expected = 4 * (gradient * change).sum()
        assert found[name].slope == pytest.approx(expected, rel=1e-3, abs=1e-4), name


def test_without_gradients_there_are_no_slopes(table: ErrorTable) -> None:
    assert {error.slope for row in table.values() for error in row.values()} == {0.0}


def test_the_number_of_threads_changes_nothing(
    checkpoint: Checkpoint, calibration: Calibration, table: ErrorTable
) -> None:
    assert measured(checkpoint, calibration, threads=1) == table


def test_a_second_measurement_comes_from_the_cache(
    checkpoint: Checkpoint, calibration: Calibration, table: ErrorTable, tmp_path: Path
) -> None:
    rounding = CountingRounding()
    assert measured(checkpoint, calibration, cache=tmp_path / "c", rounding=rounding) == table
    calls = rounding.calls
    assert measured(checkpoint, calibration, cache=tmp_path / "c", rounding=rounding) == table
    assert rounding.calls == calls


def test_a_cached_file_that_was_damaged_is_measured_again(
    checkpoint: Checkpoint, calibration: Calibration, table: ErrorTable, tmp_path: Path
) -> None:
    measured(checkpoint, calibration, cache=tmp_path)
    for path in tmp_path.iterdir():
        path.write_text('{"q4_K": {"output": 1', encoding="utf-8")
    assert measured(checkpoint, calibration, cache=tmp_path) == table


def test_other_statistics_are_measured_anew(
    checkpoint: Checkpoint, calibration: Calibration, spec: ModelSpec, tmp_path: Path
) -> None:
    first = measured(checkpoint, calibration, cache=tmp_path)
    second = measured(checkpoint, made_up_calibration(spec, seed=1), cache=tmp_path)
    assert first[DOWN]["q4_K"] != second[DOWN]["q4_K"]


def test_progress_ends_at_its_total(checkpoint: Checkpoint, calibration: Calibration) -> None:
    steps: list[Progress] = []
    measured(checkpoint, calibration, progress=steps.append)
    assert [step.phase for step in steps] == ["errors"] * 9
    assert steps[-1].done == steps[-1].total > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_block_formats_cannot_hold_are_refused(tmp_path: Path, value: float) -> None:
    folder = write_checkpoint(tmp_path, num_hidden_layers=1, intermediate_size=64)
    config = open_checkpoint(folder).config
    tensors = dict(random_tensors("llama", dict(config.values), 0))
    tensors[DOWN][3, 4] = value
    write_weights(tmp_path, tensors, "F32")
    checkpoint = open_checkpoint(tmp_path)
    with pytest.raises(FormatError, match=r"down_proj\.weight: expected finite weights"):
        measured(checkpoint, made_up_calibration(read_spec(checkpoint)))
