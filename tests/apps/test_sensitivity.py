"""`--sensitivity noise`: measured on the model, kept, and used for rounding."""

import json
from pathlib import Path

import pytest

from edgellm.apps.cli import measuring
from edgellm.artifact import open_artifact
from edgellm.converters.calibration import caches, drawn, gradients
from tests.apps.conftest import Cli
from tests.support.texts import SHORT_TEXT

OPTIONS = ("--target-bpw", "2.6", "--context", "256", "--memory", "1GiB", "--threads", "1")


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text; caches are measured in 128 tokens, half of what is planned."""
    monkeypatch.setattr(measuring, "bundled_calibration_text", lambda: SHORT_TEXT)
    monkeypatch.setattr(drawn, "LENGTH", 64)
    for module in (caches, measuring):
        monkeypatch.setattr(module, "LONGEST_TOKENS", 128)
    monkeypatch.setattr(caches, "TEXT_TOKENS", 128)


def test_measured_plans_reach_formats_that_need_statistics(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    words = (*OPTIONS, "--sensitivity", "noise")
    planned = cli("plan", checkpoint, *words, "-o", plan, "--json")
    made, note = planned.json, "judged by a context of 128 tokens instead of 256: longer ones take"
    assert note in planned.err
    assert made["sensitivity"] == "noise"
    formats = {row["format"] for row in made["weights"]["tensors"]}
    assert any(name.startswith("iq2") for name in formats)
    ran = cli("convert", checkpoint, "-o", out, "--plan", plan)
    assert ran.code == 0, ran.err
    assert "disturb" not in ran.err  # the calibration of the plan serves again
    assert open_artifact(out).plan.to_json() == json.loads(plan.read_text())


@pytest.mark.parametrize("mode", ["fisher", "llm-mq"])
def test_plans_by_gradients_are_made_once_and_convert(
    mode: str, cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    made = cli("plan", checkpoint, *OPTIONS, "--sensitivity", mode, "-o", plan, "--json")
    assert made.code == 0, made.err
    assert made.json["sensitivity"] == mode
    assert 0 < made.json["predicted"]["kl_divergence"] < 1
    assert "disturb" not in made.err
    ran = cli("convert", checkpoint, "-o", out, "--plan", plan)
    assert ran.code == 0, ran.err
    assert open_artifact(out).plan.to_json() == json.loads(plan.read_text())


@pytest.mark.parametrize("mode", ["fisher", "llm-mq"])
def test_gradients_without_torch_are_refused_before_anything_is_done(
    mode: str, cli: Cli, checkpoint: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "find_spec", lambda name: None)
    refused = cli("plan", checkpoint, *OPTIONS, "--sensitivity", mode)
    assert refused.code == 2
    assert refused.err.strip() == (
        f"edgellm: --sensitivity {mode} needs PyTorch, which is not installed; "
        "add it with: pip install 'edgellm[fisher]'"
    )
    assert not (home / "cache").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--sensitivity", "magic"), "modes: static, noise, fisher, llm-mq"),
        (
            ("--sensitivity", "static", "--calibration", "text.txt"),
            "--calibration is for --sensitivity noise, fisher",
        ),
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


@pytest.mark.parametrize(
    ("words", "code"), [(("--memory", "20MiB"), 1), (("--min-speed", "-3"), 2)]
)
def test_what_cannot_be_planned_is_refused_before_anything_is_measured(
    words: tuple[str, ...], code: int, cli: Cli, checkpoint: Path, home: Path
) -> None:
    refused = cli("plan", checkpoint, "--sensitivity", "noise", "--context", "256", *words)
    assert refused.code == code
    assert not (home / "cache" / "reference").exists()
