"""`--sensitivity noise`: measured on the model, kept, and used for rounding."""

import json
from pathlib import Path

import pytest

from edgellm.artifact import open_artifact
from tests.apps.conftest import Cli

OPTIONS = ("--target-bpw", "2.6", "--context", "256", "--memory", "1GiB", "--threads", "1")


def test_measured_plans_reach_formats_that_need_statistics(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    words = (*OPTIONS, "--sensitivity", "noise")
    made = cli("plan", checkpoint, *words, "-o", plan, "--json").json
    assert made["sensitivity"] == "noise"
    formats = {row["format"] for row in made["weights"]["tensors"]}
    assert any(name.startswith("iq2") for name in formats)
    ran = cli("convert", checkpoint, "-o", out, "--plan", plan)
    assert ran.code == 0, ran.err
    assert "disturb" not in ran.err  # the calibration of the plan serves again
    assert open_artifact(out).plan.to_json() == json.loads(plan.read_text())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--sensitivity", "magic"), "modes: static, noise, fisher, llm-mq"),
        (("--calibration", "text.txt"), "--calibration is for --sensitivity noise, fisher"),
        (("--format", "q4_K", "--sensitivity", "noise"), "drop --sensitivity"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    words: tuple[str, ...], complaint: str, cli: Cli, checkpoint: Path
) -> None:
    refused = cli("plan", checkpoint, "--memory", "1GiB", *words)
    assert refused.code == 2
    assert complaint in refused.err


def test_a_calibration_text_that_is_too_short_is_refused(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    text = tmp_path / "short.txt"
    text.write_text("Too short.")
    refused = cli("plan", checkpoint, *OPTIONS, "--sensitivity", "noise", "--calibration", text)
    assert refused.code == 3
    assert refused.err.count("edgellm: ") == 1
