"""The machine, and the memory limits of containers."""

from pathlib import Path

import psutil

from edgellm.control_groups import container_memory
from edgellm.hardware import detect_hardware

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
