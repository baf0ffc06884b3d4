"""Models by path or Hub name, against a server on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgellm.checkpoint.hub import resolve_model
from edgellm.errors import InputError
from tests.support.checkpoints import write_checkpoint, write_safetensors
from tests.support.hub_server import COMMIT, FakeHub, fake_hub

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens
CHUNK_BYTES = 10 * 2**20  # what huggingface_hub keeps of an interrupted file is a multiple of this

RESOLVE = """
import json, sys
from pathlib import Path

reference, offline, sockets = json.loads(sys.argv[1])

def forbid(event, arguments):
    if event.startswith("socket.") and not sockets:
        raise RuntimeError(f"{event} although offline")

sys.addaudithook(forbid)
from edgellm.checkpoint.hub import resolve_model
from edgellm.errors import InputError

seen, answer = [], {}
try:
    folder = resolve_model(reference, offline=offline, progress=seen.append)
    answer = {"folder": str(folder), "files": sorted(path.name for path in folder.iterdir())}
except InputError as error:
    answer = {"error": str(error)}
answer["progress"] = [[step.done, step.total] for step in seen]
print(json.dumps(answer))
"""


def resolve(
    reference: str,
    home: Path,
    endpoint: str = NOWHERE,
    *,
    offline: bool = False,
    sockets: bool = True,
    **environment: str,
) -> dict[str, Any]:
    """What `resolve_model` does with this HF_HOME and HF_ENDPOINT.

    In a process of its own: huggingface_hub reads its environment when it is imported.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    result = subprocess.run(
        [sys.executable, "-c", RESOLVE, json.dumps([reference, offline, sockets])],
        env={**inherited, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    source = write_checkpoint(tmp_path / "source", num_hidden_layers=1, shards=2)
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    (source / "modeling_custom.py").write_text("raise SystemExit")
    (source / "onnx").mkdir()
    (source / "onnx" / "config.json").write_text("{}")
    with fake_hub(source) as server:
        yield server


def test_a_name_is_fetched_without_pickles_code_or_other_formats(
    hub: FakeHub, tmp_path: Path
) -> None:
    answer = resolve("org/tiny", tmp_path / "home", hub.address)
    assert answer["folder"].endswith(COMMIT)
    assert answer["files"] == [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    done_bytes = [done for done, _ in answer["progress"]]
    assert done_bytes == sorted(done_bytes)
    assert answer["progress"][-1][0] == answer["progress"][-1][1] > 0


def test_a_fetched_name_resolves_offline_without_a_socket(hub: FakeHub, tmp_path: Path) -> None:
    fetched = resolve("org/tiny", tmp_path / "home", hub.address)
    again = resolve("org/tiny", tmp_path / "home", offline=True, sockets=False)
    assert again["folder"] == fetched["folder"]
    by_commit = resolve(f"org/tiny@{COMMIT}", tmp_path / "home", offline=True, sockets=False)
    assert by_commit["folder"] == fetched["folder"]


def test_a_fetched_name_resolves_when_the_hub_is_down(hub: FakeHub, tmp_path: Path) -> None:
    fetched = resolve("org/tiny", tmp_path / "home", hub.address)
    assert resolve("org/tiny", tmp_path / "home")["folder"] == fetched["folder"]


@pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_offline_a_name_that_was_never_fetched_is_refused_without_a_socket(
    environment: dict[str, str], tmp_path: Path
) -> None:
    answer = resolve("org/tiny", tmp_path, offline=not environment, sockets=False, **environment)
    assert answer["error"].startswith("org/tiny: revision main is not wholly in the local cache")
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_download_that_was_cut_goes_on_where_it_stopped(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "source", num_hidden_layers=1)
    array = np.random.default_rng(0).standard_normal((6000, 1000), dtype=np.float32)
    write_safetensors(source / "model.safetensors", {"a": array})
    with fake_hub(source) as hub:
        hub.cut_after_bytes = CHUNK_BYTES + 2**20
        answer = resolve("org/tiny", tmp_path / "home", hub.address)
    ranges = [wanted for name, wanted in hub.served if name == "model.safetensors"]
    assert ranges == [None, f"bytes={CHUNK_BYTES}-", f"bytes={2 * CHUNK_BYTES}-"]
    fetched = Path(answer["folder"]) / "model.safetensors"
    assert fetched.read_bytes() == (source / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("org/tyni", "org/tyni: no such file, folder or Hub repository; check the spelling"),
        ("org/gated", "org/gated: gated; accept its terms at"),
        ("org/tiny@v9", "org/tiny: has no revision 'v9'"),
        ("org/" + "x" * 200, "fetch failed"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(
    reference: str, problem: str, hub: FakeHub, tmp_path: Path
) -> None:
    error = resolve(reference, tmp_path / "home", hub.address)["error"]
    assert problem in error
    assert "\n" not in error


def test_an_unreachable_hub_is_named(tmp_path: Path) -> None:
    error = resolve("org/tiny", tmp_path)["error"]
    assert f"{NOWHERE} cannot be reached" in error
    assert "\n" not in error


def test_a_repository_without_safetensors_is_refused(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "source", num_hidden_layers=1)
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with fake_hub(source) as hub:
        error = resolve("org/tiny", tmp_path / "home", hub.address)["error"]
    assert "no safetensors in revision main; name a revision that has them" in error


def test_an_existing_path_wins_over_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve_model("org/tiny", offline=True) == Path("org/tiny")


def test_a_repository_in_the_cache_stands_for_its_main_revision(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    branch = tmp_path / "models--org--tiny" / "refs" / "main"
    branch.parent.mkdir()
    branch.write_text(COMMIT)
    assert resolve_model(str(tmp_path / "models--org--tiny")) == snapshot
    branch.write_text("gone")
    with pytest.raises(InputError, match="main revision is not in the cache"):
        resolve_model(str(tmp_path / "models--org--tiny"))


@pytest.mark.parametrize(
    "reference",
    ["", "tiny", "./nowhere", "a/b/c", "org/tiny@../../x", "org/a..b", "a\0/b", "o/t@", "x" * 9000],
)
def test_what_is_neither_path_nor_name_is_refused_at_once(reference: str) -> None:
    with pytest.raises(InputError, match="no such file or folder") as caught:
        resolve_model(reference)
    assert len(str(caught.value)) < 200
