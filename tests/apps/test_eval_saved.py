"""`edgellm eval` with a reference that was saved, and is not loaded again."""

from pathlib import Path

import pytest

from edgellm.bundled import bundled_checkpoint
from tests.apps.conftest import Cli
from tests.support.conversions import convert_folder

STORY = "The rain had stopped before the village woke, and {} went down to the river alone. "
NAMES = ("Anna", "old Mr. Perkins", "the captain", "Zoë", "my sister", "Tom", "a stranger", "Ivan")
WINDOW = ("--window", "100")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundled")
    for name in ("f16", "q4_K"):
        convert_folder(bundled_checkpoint(), folder / name, name)
    return {name: folder / name for name in ("f16", "q4_K")}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "story.txt"
    path.write_text("".join(map(STORY.format, NAMES * 3)), encoding="utf-8")
    return path


@pytest.fixture
def saved(cli: Cli, models: dict[str, Path], text: Path, tmp_path: Path) -> Path:
    path = tmp_path / "f16.reference"
    words = ("--reference", models["f16"], "--text", text, *WINDOW, "--save-reference", path)
    assert cli("eval", *words).code == 0
    return path


def test_a_saved_reference_gives_the_figures_of_a_loaded_one(
    cli: Cli, models: dict[str, Path], text: Path, saved: Path
) -> None:
    words = ("eval", models["q4_K"], "--text", text, "--json")
    loaded = cli(*words, "--reference", models["f16"], *WINDOW).json
    found = cli(*words, "--reference", saved).json
    assert found.keys() == loaded.keys()
    for name in ("perplexity", "reference_perplexity", "same_top_token", "tokens", "window"):
        assert found[name] == pytest.approx(loaded[name], rel=1e-12), name
    for name, figure in loaded["kl_divergence"].items():
        assert found["kl_divergence"][name] == pytest.approx(figure, rel=2e-3), name


def test_saving_beside_a_comparison_changes_neither(
    cli: Cli, models: dict[str, Path], text: Path, saved: Path, tmp_path: Path
) -> None:
    words = ("eval", models["q4_K"], "--reference", models["f16"], "--text", text, *WINDOW)
    plain = cli(*words, "--json").json
    both = cli(*words, "--save-reference", tmp_path / "again", "--json").json
    kept = both.pop("saved")
    assert both == plain
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()
    assert kept["path"] == str(tmp_path / "again")
    assert kept["bytes_per_token"] == kept["bytes"] / both["tokens"]


def test_windows_of_several_pieces_are_saved_and_compared_whole(
    cli: Cli, models: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    text.write_text(text.read_text(encoding="utf-8") * 3, encoding="utf-8")
    words = ("--reference", models["f16"], "--text", text, "--window", "1030", "--tokens", "1030")
    save = ("--save-reference", tmp_path / "long", "--score-from", "100", "--json")
    loaded = cli("eval", models["q4_K"], *words, *save).json
    saved = ("--reference", tmp_path / "long", "--text", text, "--json")
    found = cli("eval", models["q4_K"], *saved).json
    assert (loaded["tokens"], found["tokens"]) == (929, 929)
    for part, expected in zip(found["by_position"], loaded["by_position"], strict=True):
        assert (part["first"], part["last"]) == (expected["first"], expected["last"])
        divergence = expected["kl_divergence"]["mean"]
        assert part["kl_divergence"]["mean"] == pytest.approx(divergence, rel=5e-3)


def test_a_reference_alone_says_its_perplexity(
    cli: Cli, models: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    words = ("--reference", models["f16"], "--text", text, *WINDOW)
    alone = cli("eval", *words, "--save-reference", tmp_path / "a", "--json").json
    compared = cli("eval", models["f16"], *words, "--json").json
    keys = {"reference", "text", "window", "score_from", "reference_perplexity", "tokens", "saved"}
    assert alone.keys() == keys
    assert alone["reference_perplexity"] == compared["reference_perplexity"]


def test_a_part_of_what_was_saved_serves(
    cli: Cli, models: dict[str, Path], text: Path, saved: Path
) -> None:
    words = ("eval", models["q4_K"], "--text", text, "--reference", saved, "--json")
    assert cli(*words, "--tokens", "200").json["tokens"] == 2 * 49


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("--window", "512"), 2, "--window 512: the reference was saved with 100"),
        (("--score-from", "0"), 2, "--score-from 0: the reference was saved with 50"),
        (("--save-reference", "b"), 2, "is a saved reference already"),
        (("--tokens", "99"), 2, "less than one window of 100"),
    ],
)
def test_what_a_saved_reference_cannot_do_is_refused(
    words: tuple[str, ...],
    code: int,
    complaint: str,
    cli: Cli,
    models: dict[str, Path],
    text: Path,
    saved: Path,
) -> None:
    ran = cli("eval", models["q4_K"], "--text", text, "--reference", saved, *words)
    assert (ran.code, ran.err.count("\n")) == (code, 1)
    assert complaint in ran.err


def test_another_text_than_the_saved_one_is_refused(
    cli: Cli, models: dict[str, Path], text: Path, saved: Path
) -> None:
    text.write_text(text.read_text(encoding="utf-8") + "The end.", encoding="utf-8")
    ran = cli("eval", models["q4_K"], "--text", text, "--reference", saved)
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "not the text that the reference was saved with" in ran.err


def test_a_missing_model_is_asked_for(cli: Cli, models: dict[str, Path], text: Path) -> None:
    ran = cli("eval", "--reference", models["f16"], "--text", text)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "MODEL is missing" in ran.err


@pytest.mark.parametrize("option", ["--kv=q8_0", "--memory=1GiB"])
def test_options_of_a_model_that_is_not_there_are_refused(
    cli: Cli, models: dict[str, Path], text: Path, option: str, tmp_path: Path
) -> None:
    words = ("--reference", models["f16"], "--text", text, "--save-reference", tmp_path / "a")
    ran = cli("eval", *words, option)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"{option.partition('=')[0]} is for MODEL" in ran.err


def test_a_folder_that_is_not_there_is_no_place_to_save(
    cli: Cli, models: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    words = ("--reference", models["f16"], "--text", text)
    ran = cli("eval", *words, "--save-reference", tmp_path / "no" / "a")
    assert (ran.code, ran.err.count("\n")) == (4, 1)
