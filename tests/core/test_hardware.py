"""The machine, and the memory limits of containers."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgellm.control_groups import container_memory
from edgellm.errors import FormatError
from edgellm.hardware import Hardware, detect_hardware
from tests.support.machines import MACHINES, machine

GIB = 2**30


def write_group(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_this_machine_is_described() -> None:
    hardware = detect_hardware()
    assert hardware.system
    assert hardware.machine
    assert hardware.processor
    assert 1 <= hardware.physical_cores <= hardware.logical_cores
    assert 0 < hardware.memory_available_bytes <= hardware.memory_total_bytes
    assert hardware.memory_total_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize("name", MACHINES)
def test_a_report_of_a_machine_is_read_back_as_it_was(name: str) -> None:
    hardware = machine(name)
    assert Hardware.from_json(json.loads(json.dumps(hardware.to_json())), name) == hardware


def test_a_report_has_every_fact() -> None:
    report = detect_hardware().to_json()
    assert list(report) == list(asdict(detect_hardware()))


def test_a_report_from_before_gpus_were_looked_for_has_none() -> None:
    report = machine("linux_t4").to_json()
    del report["gpus"]
    assert Hardware.from_json(report, "old").gpus == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"memory_total_bytes": "16 GB"}, "memory_total_bytes is '16 GB'; expected an integer"),
        ({"system": None}, "system is None; expected text"),
        ({"fans": 2}, "fans is unknown"),
        ({"gpus": [{"name": "x"}]}, r"gpus\[0\].vendor is missing"),
        ({"gpus": [5]}, r"gpus\[0\] is 5; expected an object"),
    ],
)
def test_a_report_that_is_none_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        Hardware.from_json({**machine("linux_t4").to_json(), **change}, "report")


def test_a_compute_capability_that_is_none_is_refused() -> None:
    report = machine("linux_t4").to_json()
    report["gpus"][0]["compute_capability"] = "sm_75"
    with pytest.raises(FormatError, match="compute_capability is 'sm_75'; expected such as"):
        Hardware.from_json(report, "report")


def test_the_tightest_group_above_the_process_limits_it(tmp_path: Path) -> None:
    write_group(tmp_path / "pod", memory__max=str(4 * GIB), memory__current=str(GIB))
    write_group(tmp_path / "pod" / "box", memory__max="max\n", memory__current="5")
    assert container_memory(tmp_path, "/pod/box") == (4 * GIB, 3 * GIB)


def test_file_cache_counts_as_free(tmp_path: Path) -> None:
    stat = f"anon 5\ninactive_file {GIB}\n"
    write_group(tmp_path, memory__max=str(4 * GIB), memory__current=str(3 * GIB), memory__stat=stat)
    assert container_memory(tmp_path, "/") == (4 * GIB, 2 * GIB)


def test_version_1_groups_are_understood(tmp_path: Path) -> None:
    write_group(
        tmp_path / "memory",
        memory__limit_in_bytes=str(2 * GIB),
        memory__usage_in_bytes=str(GIB),
    )
    assert container_memory(tmp_path, "/") == (2 * GIB, GIB)


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    write_group(tmp_path / "memory", memory__limit_in_bytes=str(2**63 - 4096))
    assert container_memory(tmp_path, "/") is None
    assert container_memory(tmp_path / "nowhere", "/") is None
