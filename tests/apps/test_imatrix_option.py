"""`--imatrix FILE`: a user's input statistics guide the rounding."""

from pathlib import Path

import numpy as np
import pytest

from edgellm.artifact import open_artifact
from edgellm.calibration import Calibration
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.calibration.imatrix import Imatrix, imatrix_of, read_imatrix, write_imatrix
from edgellm.converters.gguf.tensors import gguf_names
from edgellm.families import read_spec
from edgellm.gguf_file import read_gguf
from edgellm.quant_tables import load_tables
from edgellm.sensitivity.error_table import ErrorTable
from tests.apps.conftest import Cli
from tests.support.calibrations import made_up_calibration, made_up_errors
from tests.support.conversions import convert_folder
from tests.support.llama_cpp_reference import llama_model_quantize

MEASURING = "edgellm.apps.cli.measuring"
WORDS = ("--memory", "1GiB", "--context", "256", "--threads", "1")


@pytest.fixture
def statistics(checkpoint: Path) -> Imatrix:
    spec = read_spec(open_checkpoint(checkpoint))
    return imatrix_of(made_up_calibration(spec), spec, "made up", 100)


@pytest.fixture
def imatrix(statistics: Imatrix, tmp_path: Path) -> Path:
    write_imatrix(tmp_path / "imatrix.gguf", statistics)
    return tmp_path / "imatrix.gguf"


def matrix_bytes(path: Path) -> dict[str, bytes]:
    file, content = read_gguf(path), path.read_bytes()
    starts = {t.name: file.data_offset + t.offset for t in file.tensors if len(t.shape) == 2}
    return {t.name: content[starts[t.name] :][: t.bytes] for t in file.tensors if t.name in starts}


def test_the_bytes_are_those_of_llama_quantize_with_the_same_imatrix(
    cli: Cli, checkpoint: Path, statistics: Imatrix, imatrix: Path, tmp_path: Path
) -> None:
    words = ("-o", tmp_path / "ours", "--format", "q4_K", "--imatrix", imatrix, *WORDS)
    ran = cli("convert", checkpoint, *words)
    assert ran.code == 0, ran.err
    source = convert_folder(checkpoint, tmp_path / "full", "f32").gguf
    ours = open_artifact(tmp_path / "ours").gguf
    types = {t.name: t.ggml_type for t in read_gguf(ours).tensors if len(t.shape) == 2}
    given = {name: entry.sums[0] / entry.counts[0] for name, entry in statistics.entries.items()}
    given["token_embd.weight"] = np.ones(
        read_spec(open_checkpoint(checkpoint)).hidden_size, np.float32
    )
    llama_model_quantize(source, tmp_path / "theirs.gguf", types, imatrix=given)
    assert matrix_bytes(ours) == matrix_bytes(tmp_path / "theirs.gguf")


def test_a_measured_plan_is_judged_by_the_imatrix(
    cli: Cli, checkpoint: Path, imatrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = read_spec(open_checkpoint(checkpoint))
    judged: list[Calibration] = []

    def measure_errors(*arguments: object, **options: object) -> ErrorTable:
        judged.extend(found for found in arguments if isinstance(found, Calibration))
        return made_up_errors(spec, load_tables())

    measured = made_up_calibration(spec, seed=1)
    monkeypatch.setattr(f"{MEASURING}.calibrate", lambda *arguments, **options: measured)
    monkeypatch.setattr(f"{MEASURING}.measure_errors", measure_errors)
    monkeypatch.setattr("edgellm.apps.cli.trial.Contest.better", lambda self, plan, budget: plan)
    words = ("plan", checkpoint, "--sensitivity", "noise", "--target-bpw", "4", *WORDS)
    assert cli(*words, "--imatrix", imatrix).code == 0
    given = made_up_calibration(spec).input_moments
    assert judged[0].input_moments.keys() == given.keys()
    for name, moments in judged[0].input_moments.items():
        np.testing.assert_allclose(moments, given[name], rtol=1e-6)
    assert judged[0].noise_gain == measured.noise_gain


def test_a_static_plan_with_an_imatrix_reaches_formats_that_need_one(
    cli: Cli, checkpoint: Path, imatrix: Path, tmp_path: Path
) -> None:
    words = ("--target-bpw", "2.6", "--imatrix", imatrix, *WORDS)
    plan = cli("plan", checkpoint, *words, "-o", tmp_path / "plan.json", "--json").json
    formats = {row["format"] for row in plan["weights"]["tensors"]}
    assert plan["sensitivity"] == "static"
    assert any(name.startswith("iq2") for name in formats)
    saved = ("--plan", tmp_path / "plan.json", "--imatrix", imatrix, "--threads", "1")
    ran = cli("convert", checkpoint, "-o", tmp_path / "out", *saved)
    assert ran.code == 0, ran.err
    assert open_artifact(tmp_path / "out").plan.to_json() == plan


def test_measured_statistics_are_saved_as_an_imatrix(
    cli: Cli, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = read_spec(open_checkpoint(checkpoint))
    measured, errors = made_up_calibration(spec), made_up_errors(spec, load_tables())
    monkeypatch.setattr(f"{MEASURING}.calibrate", lambda *arguments, **options: measured)
    monkeypatch.setattr(f"{MEASURING}.measure_errors", lambda *arguments, **options: errors)
    monkeypatch.setattr("edgellm.apps.cli.trial.Contest.better", lambda self, plan, budget: plan)
    words = ("plan", checkpoint, *WORDS, "--save-imatrix", tmp_path / "i.gguf")
    assert cli(*words).code == 2  # nothing was measured
    assert cli(*words, "--sensitivity", "noise").code == 0
    saved = read_imatrix(tmp_path / "i.gguf").moments(spec)
    assert saved.keys() == measured.input_moments.keys()
    for name, moments in saved.items():
        np.testing.assert_allclose(moments, measured.input_moments[name], rtol=1e-6)


def test_what_an_imatrix_lacks_is_said(
    cli: Cli, checkpoint: Path, statistics: Imatrix, tmp_path: Path
) -> None:
    spec = read_spec(open_checkpoint(checkpoint))
    names = {ours: theirs for theirs, ours in gguf_names(spec).items()}
    absent = [name for name in statistics.entries if "ffn_down" in name]
    entries = {name: row for name, row in statistics.entries.items() if name not in absent}
    write_imatrix(tmp_path / "part.gguf", Imatrix(entries))
    ran = cli("plan", checkpoint, "--imatrix", tmp_path / "part.gguf", *WORDS)
    assert ran.code == 0
    assert f"has nothing on {names[absent[0]]}" in ran.err
    assert "rounded without statistics" in ran.err


def test_statistics_of_another_model_are_refused(cli: Cli, checkpoint: Path, imatrix: Path) -> None:
    ran = cli("plan", "novelist-7m", "--imatrix", imatrix, *WORDS)
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "of another model" in ran.err


def test_a_model_is_no_imatrix_and_nor_is_nothing(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    model = convert_folder(checkpoint, tmp_path / "full", "f16").gguf
    for path in (model, tmp_path / "none.gguf"):
        ran = cli("plan", checkpoint, "--imatrix", path, *WORDS)
        assert (ran.code, ran.err.count("\n")) == (3, 1)
        assert str(path) in ran.err
