"""The table of engines."""

import subprocess
import sys
from pathlib import Path

import pytest

import edgellm.runtimes
from edgellm.errors import UsageError
from edgellm.runtimes import RUNTIMES, open_runtime
from edgellm.runtimes.protocol import Runtime

FOLDER = Path(edgellm.runtimes.__file__ or "").parent


@pytest.mark.parametrize("name", RUNTIMES)
def test_each_row_opens_an_engine_of_that_name(name: str) -> None:
    runtime: Runtime = open_runtime(name)
    assert runtime.name == name
    assert RUNTIMES[name].unavailable() is None


def test_the_llama_cpp_class_fulfils_the_protocol() -> None:
    from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime

    runtime: Runtime = LlamaCppRuntime()  # the type checker proves it
    assert runtime.name == "llama.cpp"


def test_each_engine_folder_has_a_row() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/runtime.py")}
    assert folders == {entry.module.split(".")[2] for entry in RUNTIMES.values()}


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no engine 'tflite'; known: llama\.cpp"):
        open_runtime("tflite")


def test_the_table_and_the_protocol_import_no_engine() -> None:
    probe = (
        "import sys, edgellm.runtimes.protocol, edgellm.runtimes.host.chat_template;"
        "print({'llama_cpp', 'numpy', 'jinja2'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", probe]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert shown.stdout.strip() == "set()"


def test_an_engine_describes_its_build() -> None:
    line = open_runtime("llama.cpp").describe()
    assert "llama-cpp-python" in line
    assert "\n" not in line
