"""What a calibration tells the rounding, and what of it an artifact remembers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgellm.artifact import open_artifact
from edgellm.calibration import Calibration
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.rounding.moments import calibration_digest, rounding_moments
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.families import read_spec
from edgellm.spec import ModelSpec
from tests.support.calibrations import made_up_calibration
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.specs import make_spec

EMBEDDING, DOWN = "model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight"
SPEC = make_spec(tied=True)
CALIBRATION = made_up_calibration(SPEC)


def with_moments(name: str, values: object) -> Calibration:
    moments = {**CALIBRATION.input_moments, name: np.asarray(values, dtype=np.float32)}
    return replace(CALIBRATION, input_moments=moments)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"), num_hidden_layers=1)


@pytest.fixture(scope="module")
def spec(checkpoint: Path) -> ModelSpec:
    return read_spec(open_checkpoint(checkpoint))


def test_a_linear_is_rounded_by_its_input_moments() -> None:
    moments = rounding_moments(SPEC, CALIBRATION)[DOWN]
    assert np.array_equal(moments, CALIBRATION.input_moments[DOWN])


def test_nothing_guides_the_rounding_without_a_calibration() -> None:
    assert rounding_moments(SPEC, None) == {}


def test_a_linear_that_was_not_measured_is_left_out() -> None:
    measured = {name: m for name, m in CALIBRATION.input_moments.items() if name != DOWN}
    assert DOWN not in rounding_moments(SPEC, replace(CALIBRATION, input_moments=measured))


def test_an_embedding_that_is_only_looked_up_treats_its_columns_alike() -> None:
    untied = make_spec(tied=False)
    moments = rounding_moments(untied, made_up_calibration(untied))[EMBEDDING]
    assert np.array_equal(moments, np.ones(256, dtype=np.float32))


def test_a_tied_embedding_weighs_both_jobs_by_their_gains() -> None:
    gain, head_gain = CALIBRATION.noise_gain[EMBEDDING], CALIBRATION.head_gain
    assert head_gain is not None
    expected = gain / SPEC.vocab_size + head_gain * CALIBRATION.input_moments[EMBEDDING]
    moments = rounding_moments(SPEC, CALIBRATION)[EMBEDDING]
    assert moments / moments[0] == pytest.approx(expected / expected[0], rel=1e-5)


def test_a_channel_the_text_never_used_still_counts_a_little() -> None:
    silent = with_moments(DOWN, [0.0] * 256 + [2.0] * 256)
    moments = rounding_moments(SPEC, silent)[DOWN]
    assert moments.min() == pytest.approx(1e-6)
    assert moments.max() == 2.0


@pytest.mark.parametrize(
    ("name", "values", "complaint"),
    [
        (DOWN, np.ones(100), "100 channels; expected 512"),
        (DOWN, np.full(512, np.nan), "expected finite numbers"),
        (DOWN, np.zeros(512), "not all 0"),
        (DOWN, -np.ones(512), "at least 0"),
        ("blk.9.weight", np.ones(512), "for another model than made-up: it has blk.9.weight"),
    ],
)
def test_a_calibration_of_another_model_is_refused(
    name: str, values: object, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        rounding_moments(SPEC, with_moments(name, values))


def test_the_digest_changes_with_every_figure() -> None:
    gains = {**CALIBRATION.noise_gain, DOWN: 1.0}
    others = [
        replace(CALIBRATION, tokens=1001),
        replace(CALIBRATION, head_gain=2e-4),
        replace(CALIBRATION, noise_gain=gains),
        with_moments(DOWN, np.ones(512)),
    ]
    digests = {calibration_digest(each) for each in (CALIBRATION, *others)}
    assert len(digests) == 5
    assert calibration_digest(made_up_calibration(SPEC)) == calibration_digest(CALIBRATION)


def test_the_artifact_remembers_its_calibration(
    checkpoint: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    calibration = made_up_calibration(spec)
    convert_folder(checkpoint, tmp_path / "out", "iq2_xxs", calibration=calibration)
    assert open_artifact(tmp_path / "out").calibration == calibration_digest(calibration)


def test_an_artifact_without_a_calibration_says_nothing_of_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    artifact = convert_folder(checkpoint, tmp_path / "out")
    assert artifact.calibration is None
    assert "calibration" not in json.loads((tmp_path / "out" / "edgellm.json").read_text())


def test_a_calibration_that_is_no_hash_is_refused(
    checkpoint: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    convert_folder(checkpoint, tmp_path / "out", calibration=made_up_calibration(spec))
    manifest = tmp_path / "out" / "edgellm.json"
    document = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**document, "calibration": "yes"}), encoding="utf-8")
    with pytest.raises(FormatError, match="calibration is not 64 hexadecimal digits"):
        open_artifact(tmp_path / "out")


def test_a_format_that_needs_statistics_is_refused_where_a_tensor_has_none(
    checkpoint: Path, spec: ModelSpec, tmp_path: Path
) -> None:
    calibration = made_up_calibration(spec)
    known = {name: m for name, m in calibration.input_moments.items() if name != "lm_head.weight"}
    partial = replace(calibration, input_moments=known)
    with pytest.raises(UnsupportedError, match=r"lm_head\.weight: iq3_xxs needs measured input"):
        convert_folder(checkpoint, tmp_path / "out", "iq3_xxs", calibration=partial)
