"""`edgellm doctor`: the machine, and every runtime with its reason, in the width there is."""

import sys

import pytest

from edgellm.apps.cli.doctor import machine_lines, runtime_lines
from edgellm.hardware import Hardware
from edgellm.runtimes.choosing.selection import rank_runtimes
from tests.apps.conftest import Cli
from tests.support.machines import MACHINES, everything, machine


def lines(name: str) -> list[str]:
    hardware = machine(name)
    shown = (*machine_lines(hardware), *runtime_lines(rank_runtimes(hardware, everything())))
    return "\n".join(shown).splitlines()


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_fits_a_terminal_of_80_columns(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, lines(name))) <= 80
    assert len(lines(name)) <= 24


@pytest.mark.parametrize("name", MACHINES)
def test_a_program_that_reads_gets_one_line_a_runtime(name: str) -> None:
    facts = 2 + max(1, len(machine(name).gpus))
    assert len(lines(name)) == facts + len(rank_runtimes(machine(name), everything()))


def test_a_gpu_is_shown_with_its_memory_capability_and_driver() -> None:
    assert (
        "Tesla T4, 14.64 GiB of 15.00 GiB free, compute capability 7.5, driver 580.95.05"
        in lines("linux_t4")
    )
    assert "Apple M2 Pro, shares the machine's memory" in lines("apple_m2_pro")
    assert "no GPU found" in lines("cpu_server")


def test_the_report_is_one_that_can_be_read_back(cli: Cli) -> None:
    report = cli("doctor", "--json").json
    assert Hardware.from_json(report["hardware"], "doctor").to_json() == report["hardware"]
    assert "llama-cpp-python" in report["builds"]["llama.cpp"]


def test_an_engine_that_does_not_load_is_refused_with_its_error(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgellm.runtimes.Entry.unavailable", lambda _: "libllama.so is gone")
    rows = {row["name"]: row for row in cli("doctor", "--json").json["runtimes"]}
    assert rows["llama.cpp CPU"]["available"] is False
    assert rows["llama.cpp CPU"]["reason"] == "libllama.so is gone"
