import subprocess
import sys

import pytest

from edgellm.lone_import import import_alone


def printed(program: str) -> str:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_package_itself_is_not_imported() -> None:
    program = """
import sys
from edgellm.lone_import import import_alone
module = import_alone("llama_cpp.llama_cpp")
print(module.llama_supports_mmap(), "llama_cpp" in sys.modules, "jinja2" in sys.modules)
"""
    assert printed(program) == "True False False"


def test_the_package_can_be_imported_later_and_shares_the_module() -> None:
    program = """
from edgellm.lone_import import import_alone
alone = import_alone("llama_cpp.llama_cpp")
import llama_cpp
print(llama_cpp.Llama.__name__, llama_cpp.llama_cpp is alone)
"""
    assert printed(program) == "Llama True"


def test_a_package_that_is_there_already_is_used() -> None:
    program = """
import llama_cpp
from edgellm.lone_import import import_alone
print(import_alone("llama_cpp.llama_cpp") is llama_cpp.llama_cpp)
"""
    assert printed(program) == "True"


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        import_alone("no_such_package.module")
