"""Processes of our own, started from Python and from an app that was packed with it."""

import os
import subprocess
import sys
from ast import literal_eval
from importlib import import_module
from pathlib import Path

import pytest

from edgellm.__pyinstaller import get_hook_dirs
from edgellm.children import CHILDREN, MARKER, child_command
from edgellm.errors import UnsupportedError
from tests.support.services import MODULE

ROOT = Path(__file__).parents[2]
CALL_WORKER = f"""
import os, queue
from edgellm.runtimes.worker.connection import WorkerConnection
with WorkerConnection.spawn("{MODULE}:Oddities", memory_limit_bytes=None, engine="toy") as worker:
    ends = queue.SimpleQueue()
    worker.start(*CALL, lambda item: None, ends.put)
    print(ends.get())
"""
FREEZE = """
import sys
sys.frozen, sys.executable = True, __file__
import edgellm
"""


def run(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout).strip()


def frozen_app(folder: Path, program: str) -> list[str]:
    """A program that takes itself for a frozen app: it can only be started as a whole."""
    app = folder / "app"
    app.write_text(f"#!{sys.executable}\n{FREEZE}{program}", encoding="utf-8")
    app.chmod(0o755)
    return [str(app)]


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("module", CHILDREN)
def test_each_child_has_a_main(module: str) -> None:
    assert callable(import_module(CHILDREN[module]).main)


def test_a_child_finds_what_its_parent_put_on_the_path_itself(tmp_path: Path) -> None:
    program = f"import sys; sys.path.append({str(ROOT)!r}); CALL = 'echo', b'hi'\n{CALL_WORKER}"
    assert run([sys.executable, "-I", "-c", program], cwd=tmp_path) == "b'hi'"


def test_a_child_imports_nothing_from_the_current_folder(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "canary.py").write_text("open('sang', 'x')\n", encoding="utf-8")
    program = f"CALL = 'imports_on_a_thread', b'canary'\n{CALL_WORKER}"
    run([sys.executable, "-c", program], cwd=tmp_path, env=environment)
    assert not (tmp_path / "sang").exists()


def test_a_python_without_an_executable_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(UnsupportedError, match=r"sys\.executable"):
        child_command("edgellm")


@pytest.mark.skipif(sys.platform == "win32", reason="starts a script as a program")
@pytest.mark.parametrize(
    ("method", "answer"), [("echo", "b'edgellm.store'"), ("imports_on_a_thread", "b'imported'")]
)
def test_a_frozen_app_has_workers(
    method: str, answer: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    app = frozen_app(tmp_path, f"CALL = {method!r}, b'edgellm.store'\n{CALL_WORKER}")
    assert run(app, env=environment) == answer


@pytest.mark.skipif(sys.platform == "win32", reason="starts a script as a program")
def test_a_frozen_app_renders_templates(tmp_path: Path, environment: dict[str, str]) -> None:
    program = (
        "from edgellm.runtimes.host.chat_template import TemplateHelper\n"
        "print(TemplateHelper().render('{{ bos_token }}!', [], bos_token='yes', eos_token=''))\n"
    )
    assert run(frozen_app(tmp_path, program), env=environment) == "yes!"


@pytest.mark.skipif(sys.platform == "win32", reason="starts a script as a program")
def test_a_frozen_app_runs_the_command_line_as_a_child(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    program = (
        "import subprocess\nfrom edgellm.children import child_command\n"
        "subprocess.run(child_command('edgellm', '--version'), check=True)\n"
    )
    assert run(frozen_app(tmp_path, program), env=environment).startswith("edgellm ")


@pytest.mark.skipif(sys.platform == "win32", reason="starts a script as a program")
def test_a_frozen_app_is_a_child_of_nothing_else(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [*frozen_app(tmp_path, "print('the app')"), MARKER, "antigravity"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no such child" in done.stderr
    assert done.stdout == ""


def test_the_marker_means_nothing_where_python_runs(environment: dict[str, str]) -> None:
    program = "import edgellm; print('on it goes')"
    command = [sys.executable, "-c", program, MARKER, "edgellm"]
    assert run(command, env=environment) == "on it goes"


def test_pyinstallers_hook_diverts_a_child_before_the_app_begins(
    environment: dict[str, str],
) -> None:
    (folder,) = map(Path, get_hook_dirs())
    scripts = literal_eval((folder / "rthooks.dat").read_text(encoding="utf-8"))
    (hook,) = (folder / "rthooks" / name for name in scripts["edgellm"])
    program = f"import runpy, sys; sys.frozen = True; runpy.run_path({str(hook)!r}); print('app')"
    app = [sys.executable, "-c", program]
    assert run([*app, "--version"], env=environment) == "app"
    assert run([*app, MARKER, "edgellm", "--version"], env=environment).startswith("edgellm ")
