from pathlib import Path

import pytest

from edgellm.apps.cli.app import run
from edgellm.apps.cli.settings import option_defaults, read_config
from edgellm.errors import FormatError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGELLM_HOME", str(tmp_path))
    monkeypatch.delenv("EDGELLM_MEMORY", raising=False)
    return tmp_path


def test_without_a_file_there_are_no_values() -> None:
    assert read_config() == {}


def test_a_value_in_the_file_becomes_the_default_of_every_verb_that_takes_it(home: Path) -> None:
    (home / "config.toml").write_text('memory = "4GiB"\noffline = true\n')
    defaults = option_defaults()
    assert defaults["plan"] == {"memory": "4GiB", "offline": True}
    assert defaults["eval"] == defaults["plan"]
    assert defaults["inspect"] == {"offline": True}


@pytest.mark.parametrize(
    ("text", "named"),
    [("memroy = '4GiB'", "memroy"), ("memory = 4", "memory"), ("context = true", "context")],
)
def test_an_unknown_key_or_a_wrong_type_is_named(home: Path, text: str, named: str) -> None:
    (home / "config.toml").write_text(text)
    with pytest.raises(FormatError, match=named):
        read_config()


def test_broken_toml_is_one_line_and_exit_code_3(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text("memory = ")
    assert run(["ls"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_a_variable_wins_over_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "config.toml").write_text('memory = "4GiB"\ncontext = 512\n')
    monkeypatch.setenv("EDGELLM_MEMORY", "2GiB")
    assert run(["config"]) == 0
    shown = capsys.readouterr().out
    assert "memory = 2GiB  (EDGELLM_MEMORY)" in shown
    assert f"context = 512  ({home / 'config.toml'})" in shown
