"""A command line in this process, with a store of its own."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgellm.apps.cli.app import run
from tests.support.checkpoints import write_checkpoint


@dataclass(frozen=True)
class Ran:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("EDGELLM_HOME", str(folder))
    # Measuring takes seconds even for the smallest model; tests that are about it ask for it.
    monkeypatch.setenv("EDGELLM_SENSITIVITY", "static")
    for name in ("MEMORY", "CONTEXT", "THREADS", "OFFLINE"):
        monkeypatch.delenv(f"EDGELLM_{name}", raising=False)
    return folder


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: str | Path) -> Ran:
        code = run([str(word) for word in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A random model with the bundled tokenizer."""
    return write_checkpoint(tmp_path / "tiny", tokenizer=True)
