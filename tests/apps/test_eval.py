"""`edgellm eval` says what a float64 computation from llama.cpp's full logits says."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgellm.bundled import bundled_checkpoint
from edgellm.hardware import detect_hardware
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import ScoringOptions
from tests.apps.conftest import Cli
from tests.support.conversions import convert_folder
from tests.support.gguf import TinyLlama
from tests.support.llama_cpp_reference import llama_cpp_logits
from tests.support.quality import textbook_quality

WINDOW = 300
STORY = (
    "The rain had stopped before the village woke, and {name} went down to the river alone. "
    "Nobody had seen the boat since the {number}th of March; still, there it was, half full of "
    "water, tied to the same post. “Who brought you back?” {name} asked it.\n\n"
)
NAMES = ("Anna", "old Mr. Perkins", "the captain", "Zoë", "my sister", "Tom", "a stranger", "Ivan")
COMPARED = {"model", "reference", "text", "window", "score_from", "key_format", "value_format"}
MEASURED = {
    "perplexity": float,
    "reference_perplexity": float,
    "log_perplexity_ratio": {"mean", "standard_error"},
    "kl_divergence": {"mean", "standard_error", "median", "p99", "p99_9"},
    "same_top_token": float,
    "tokens": int,
    "by_position": list,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundled")
    for name in ("f16", "q4_K"):
        convert_folder(bundled_checkpoint(), folder / name, name)
    return {name: folder / name for name in ("f16", "q4_K")}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "story.txt"
    parts = (STORY.format(name=name, number=number) for number, name in enumerate(NAMES * 2, 5))
    path.write_text("".join(parts), encoding="utf-8")
    return path


def test_the_figures_are_those_of_full_logits_in_float64(
    cli: Cli, models: dict[str, Path], text: Path
) -> None:
    found = cli(
        "eval", models["q4_K"], "--reference", models["f16"], "--text", text,
        "--window", str(WINDOW), "--kv", "f16", "--json",
    ).json  # fmt: skip
    reference, model = (models[name] / "model.gguf" for name in ("f16", "q4_K"))
    windows = windows_by_hand(reference, text.read_bytes().decode())
    half = slice(WINDOW // 2, WINDOW - 1)
    expected, given = (
        np.concatenate([llama_cpp_logits(gguf, w, as_users_run_it=True)[half] for w in windows])
        for gguf in (reference, model)
    )
    following = [token for window in windows for token in window[WINDOW // 2 + 1 :]]
    for name, figure in textbook_quality(expected, given, following).items():
        assert found[name] == pytest.approx(figure, rel=1e-6), name


def windows_by_hand(gguf: Path, text: str) -> list[list[int]]:
    """The text after its BOS, cut; then BOS first in each window."""
    with LlamaCppRuntime().open_scorer(gguf, ScoringOptions(8, 4)) as scorer:
        bos, tokens = scorer.bos, scorer.tokens(text)
    assert bos is not None
    tokens = [bos, *tokens]
    count = len(tokens) // WINDOW
    assert count >= 2
    return [[bos, *tokens[i * WINDOW + 1 : (i + 1) * WINDOW]] for i in range(count)]


def test_json_has_the_documented_keys_and_says_what_was_compared(
    cli: Cli, models: dict[str, Path], text: Path
) -> None:
    words = ("eval", models["q4_K"], "--reference", models["f16"], "--text", text, "--json")
    found = cli(*words, "--tokens", "512", "--kv", "q8_0/q4_0").json
    assert found.keys() == COMPARED | MEASURED.keys()
    for name, kind in MEASURED.items():
        value = found[name]
        assert value.keys() == kind if isinstance(kind, set) else type(value) is kind, name
    compared = [found[name] for name in ("model", "reference", "text", "key_format")]
    assert compared == [str(models["q4_K"]), str(models["f16"]), str(text), "q8_0"]
    assert (found["window"], found["tokens"]) == (512, 255)


def test_a_model_beside_itself_lost_nothing(cli: Cli, models: dict[str, Path], text: Path) -> None:
    words = ("--reference", models["f16"] / "model.gguf", "--text", text, "--kv", "f16", "--json")
    found = cli("eval", models["f16"], *words).json
    assert set(found["kl_divergence"].values()) == {0.0}
    assert found["same_top_token"] == 1.0


def test_a_checkpoint_as_reference_is_f16_and_kept(
    cli: Cli, models: dict[str, Path], text: Path
) -> None:
    files = ("--reference", "novelist-7m", "--text", text)
    words = ("eval", models["f16"], *files, "--kv", "f16", "--json")
    first, second = cli(*words), cli(*words)
    assert first.json["kl_divergence"]["mean"] == 0
    assert "converting" in first.err
    assert "converting" not in second.err


def test_a_checkpoint_as_model_is_planned_for_the_memory_given(cli: Cli, text: Path) -> None:
    words = ("--reference", "novelist-7m", "--text", text, "--tokens", "1024", "--context", "512")
    small, large = (
        cli("eval", "novelist-7m", *words, "--memory", memory, "--json").json
        for memory in ("50MiB", "1GiB")
    )
    assert small["kl_divergence"]["mean"] > large["kl_divergence"]["mean"]


def test_a_coarse_cache_shows(cli: Cli, models: dict[str, Path], text: Path) -> None:
    words = ("--reference", models["f16"], "--text", text, "--kv", "q4_0/f16", "--json")
    assert cli("eval", models["f16"], *words).json["kl_divergence"]["mean"] > 0


def test_an_artifact_is_judged_with_the_cache_it_was_planned_with(
    cli: Cli, models: dict[str, Path], text: Path
) -> None:
    words = ("--reference", models["f16"], "--text", text, "--json")
    planned, named = (
        cli("eval", models["f16"], *words, *more).json for more in ((), ("--kv", "q8_0"))
    )
    bare = cli("eval", models["f16"] / "model.gguf", *words).json
    assert planned == named
    assert (planned["key_format"], bare["key_format"]) == ("q8_0", "f16")
    assert planned["kl_divergence"]["mean"] > bare["kl_divergence"]["mean"] == 0


def test_positions_are_scored_from_where_the_user_says(
    cli: Cli, models: dict[str, Path], text: Path
) -> None:
    words = ("eval", models["q4_K"], "--reference", models["f16"], "--text", text, "--json")
    found = cli(*words, "--window", "64", "--score-from", "3", "--tokens", "128").json
    parts = found["by_position"]
    ranges = [(part["first"], part["last"]) for part in parts]
    assert (found["score_from"], found["tokens"]) == (3, 120)
    assert ranges == [(3, 17), (18, 32), (33, 47), (48, 62)]
    mean = sum(part["kl_divergence"]["mean"] for part in parts) / 4
    assert mean == pytest.approx(found["kl_divergence"]["mean"], rel=1e-9)


def test_people_read_every_figure_in_80_columns(
    cli: Cli, models: dict[str, Path], text: Path
) -> None:
    shown = cli("eval", models["q4_K"], "--reference", models["f16"], "--text", text).out
    for word in ("KL divergence", "median", "99.9 %", "same top token", "perplexity", "log ratio"):
        assert word in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_models_of_other_vocabularies_are_refused(
    cli: Cli, models: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    other = TinyLlama().write(tmp_path / "other.gguf")
    ran = cli("eval", models["f16"], "--reference", other, "--text", text)
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "vocabularies differ" in ran.err


def test_models_that_number_tokens_differently_are_refused(
    cli: Cli, text: Path, tmp_path: Path
) -> None:
    one = TinyLlama().write(tmp_path / "one.gguf")
    other = TinyLlama(add_bos=False).write(tmp_path / "other.gguf")
    ran = cli("eval", one, "--reference", other, "--text", text)
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "other token ids" in ran.err


def test_models_that_do_not_fit_together_are_an_honest_no(
    cli: Cli, models: dict[str, Path], text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(
        memory_available_bytes=15 << 20, memory_total_bytes=detect_hardware().memory_total_bytes
    )
    monkeypatch.setattr("edgellm.apps.cli.quality.detect_hardware", lambda: free)
    ran = cli("eval", models["q4_K"], "--reference", models["f16"], "--text", text)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "15.00 MiB is free" in ran.err


@pytest.mark.parametrize("option", ["--memory=1GiB", "--context=512"])
def test_planning_what_is_converted_already_is_refused(
    cli: Cli, models: dict[str, Path], text: Path, option: str
) -> None:
    ran = cli("eval", models["f16"], "--reference", models["f16"], "--text", text, option)
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_settings_for_planning_do_not_stop_a_converted_model(
    cli: Cli, models: dict[str, Path], text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELLM_MEMORY", "1GiB")
    assert cli("eval", models["f16"], "--reference", models["f16"], "--text", text).code == 0
