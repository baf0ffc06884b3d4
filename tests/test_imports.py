"""Imports point one way: apps -> converters, runtimes -> quant_tables -> core."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "edgellm": {"edgellm"},
    "quant_tables": {"edgellm", "quant_tables"},
    "converters": {"edgellm", "quant_tables", "converters"},
    "runtimes": {"edgellm", "quant_tables", "runtimes"},
    "apps": {"edgellm", "quant_tables", "converters", "runtimes", "apps"},
}
HEAVY = ("llama_cpp", "torch", "onnxruntime", "textual", "numpy", "scipy", "gguf", "transformers")
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


def test_importing_edgellm_loads_nothing_heavy() -> None:
    program = f"import edgellm, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['edgellm', '--help']\n"
        "from edgellm.apps.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stderr.strip() == "[]"
