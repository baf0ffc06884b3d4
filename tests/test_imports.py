"""Imports point one way: apps -> converters, runtimes -> quant_tables -> core."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.runtimes.choosing.installed import llama_cpp_gpus
from tests.support.gguf import TinyLlama

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "edgellm": {"edgellm"},
    "quant_tables": {"edgellm", "quant_tables"},
    "converters": {"edgellm", "quant_tables", "converters"},
    "runtimes": {"edgellm", "quant_tables", "runtimes"},
    "apps": {"edgellm", "quant_tables", "converters", "runtimes", "apps"},
}
HEAVY = ("llama_cpp", "torch", "onnxruntime", "textual", "numpy", "scipy", "gguf", "transformers")
SLOW = ("asyncio", "importlib.metadata", "jinja2", "pydantic", "rich", "edgellm.checkpoint")
CLI = "from edgellm.apps.cli import main\ntry:\n    main({!r})\nexcept SystemExit:\n    pass"
FACADE = {Path("edgellm") / name for name in ("__init__.py", "__main__.py", "testing.py")}


def sources(part: str) -> list[Path]:
    files = (ROOT / part).rglob("*.py")
    links = {ROOT / "edgellm" / name for name in MAY_IMPORT}
    return [file for file in files if not links & set(file.parents)]


def imported_modules(file: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def parts_imported(file: Path) -> set[str]:
    names = [name.split(".") for name in imported_modules(file) if name.startswith("edgellm")]
    return {name[1] if len(name) > 1 and name[1] in MAY_IMPORT else "edgellm" for name in names}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    files = [file for file in sources(part) if file.relative_to(ROOT) not in FACADE]
    assert files
    wrong = {str(file.relative_to(ROOT)): parts_imported(file) - MAY_IMPORT[part] for file in files}
    assert {file: parts for file, parts in wrong.items() if parts} == {}


def modules_after(program: str) -> set[str]:
    """Every module that a Python of its own has imported once the program is done."""
    program += "\nimport sys; print('', *sys.modules, sep='\\n')"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines())


def test_importing_edgellm_loads_nothing_heavy() -> None:
    assert not modules_after("import edgellm") & {*HEAVY, *SLOW}


def test_help_loads_nothing_heavy() -> None:
    modules = modules_after(CLI.format(["--help"]))
    assert "edgellm.apps.cli.run" in modules
    assert not modules & {*HEAVY, *SLOW, "edgellm.plan", "edgellm.jsonfields"}


def test_the_chat_draws_its_first_frame_before_anything_heavy() -> None:
    modules = modules_after("import edgellm.apps.chat.launch, edgellm.apps.chat.start")
    assert not modules & {*HEAVY, *SLOW, "edgellm.plan", "edgellm.apps.launching"}


def test_the_chat_is_on_the_screen_before_what_loads_models_is_imported() -> None:
    modules = modules_after("import edgellm.apps.chat.app")
    loading = {"edgellm.apps.loading", "edgellm.plan", "edgellm.runtimes.wire", "msgspec"}
    assert not modules & ({*HEAVY, *loading, "edgellm.checkpoint", "psutil"} - {"textual"})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyLlama().write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def modules_of_run(model: Path) -> set[str]:
    """What the process of `edgellm run` imports, whose engine is in another one."""
    arguments = ["run", str(model), "a", "--max-tokens", "1", "--threads", "1"]
    return modules_after(CLI.format(arguments))


def test_the_parent_of_a_worker_loads_no_engine(modules_of_run: set[str]) -> None:
    assert "edgellm.runtimes.worker.connection" in modules_of_run
    theirs = {"llama_cpp.llama_cpp", "asyncio", "rich", "edgellm.runtimes.host.host"}
    assert not modules_of_run & {*HEAVY, *theirs, "edgellm.checkpoint"}


@pytest.mark.skipif(bool(llama_cpp_gpus()), reason="this llama.cpp has a device to choose")
def test_where_only_the_processor_can_run_a_model_nothing_is_looked_at(
    modules_of_run: set[str],
) -> None:
    looking = {
        "psutil",
        "edgellm.quant_tables",
        "edgellm.gguf_file",
        "edgellm.runtimes.choosing.choice",
    }
    assert not modules_of_run & looking


def test_answering_plain_text_loads_what_that_needs(model: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from edgellm.runtimes.api.launch import Launch\n"
        "from edgellm.runtimes.api.model import Model\n"
        "from edgellm.runtimes.options import LoadOptions\n"
        f"launch = Launch(Path({str(model)!r}), LoadOptions(threads=1), isolation='none')\n"
        "with Model(launch.open()) as model:\n"
        "    model.generate('a', max_tokens=1).result()"
    )
    modules = modules_after(program)
    assert {"edgellm.runtimes.llama_cpp.runtime", "llama_cpp.llama_cpp"} <= modules
    others = {f"edgellm.runtimes.{name}" for name in ("gbnf", "llama_cpp.state_file")}
    guessing = {name for name in modules if name.startswith("edgellm.runtimes.llama_cpp.spec")}
    assert not modules & {*HEAVY, *SLOW, *others} | guessing
