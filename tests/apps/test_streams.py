"""Standard streams that are full, closed or left, and Ctrl-C before the command line is there."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgellm.apps.cli import main

COMMAND = (sys.executable, "-m", "edgellm", "--version")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_stdout_is_one_line_and_exit_code_4() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(COMMAND, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 4
    assert ran.stderr.splitlines() == [
        "edgellm: standard output: cannot be written: No space left on device"
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors in a child")
@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
def test_closed_streams_lead_nowhere(closed: tuple[int, ...]) -> None:
    shell = ["sh", "-c", " ".join(['"$@"', *(f"{number}>&-" for number in closed)]), "sh", *COMMAND]
    ran = subprocess.run(shell, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_ctrl_c_while_the_command_line_is_imported_exits_130(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "edgellm.apps.cli.app", Interrupted("app"))
    with pytest.raises(SystemExit) as ended:
        main(["ls"])
    assert ended.value.code == 130
