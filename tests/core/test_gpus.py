"""GPUs from what systems and drivers print: as it is, and as nobody should print it."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.gpus import find
from edgellm.gpus.drm import read_cards
from edgellm.gpus.find import find_gpus, merge_nvidia
from edgellm.gpus.gpu import Gpu
from edgellm.gpus.macos import parse_displays
from edgellm.gpus.nvidia import QUERIES, parse_rows
from edgellm.gpus.registry import CLASS_KEY, describe_adapter, read_adapters

MIB, GIB = 2**20, 2**30
FULL, BASIC = QUERIES


def test_nvidia_smi_tells_memory_driver_and_compute_capability() -> None:
    text = "Tesla T4, 15360, 14992, 580.95.05, 7.5\nNVIDIA H200, 143771, 143160, 580.95.05, 9.0\n"
    t4, h200 = parse_rows(text, FULL)
    assert t4 == Gpu("Tesla T4", "nvidia", False, 15360 * MIB, 14992 * MIB, (7, 5), "580.95.05")
    assert (h200.name, h200.compute_capability) == ("NVIDIA H200", (9, 0))


def test_an_nvidia_gpu_without_memory_of_its_own_shares_the_machines() -> None:
    (gpu,) = parse_rows("NVIDIA GB10, [N/A], [N/A], 580.95.05, 12.1", FULL)
    assert gpu == Gpu("NVIDIA GB10", "nvidia", True, None, None, (12, 1), "580.95.05")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
        'Field "compute_cap" is not a valid field to query.',
        "\n,,,,\n",
        "No devices were found",
    ],
)
def test_complaints_of_nvidia_smi_are_no_gpus(text: str) -> None:
    assert parse_rows(text, FULL) == ()


def test_odd_figures_are_unknown_and_names_are_one_clean_line() -> None:
    (gpu,) = parse_rows("Evil \x1b[31m GPU" + "x" * 500 + ", 1e9, -5, ..., 99999.9", FULL)
    assert gpu.memory_total_bytes is None
    assert gpu.compute_capability is None
    assert gpu.name.isprintable()
    assert len(gpu.name) == 80


@given(st.text())
def test_no_output_of_a_tool_breaks_a_parser(text: str) -> None:
    assert all(gpu.name for gpu in parse_rows(text, FULL))
    assert parse_displays(text) == ()


M2_PRO = {
    "_name": "Apple M2 Pro",
    "spdisplays_mtlgpufamilysupport": "spdisplays_metal3",
    "spdisplays_vendor": "sppci_vendor_Apple",
    "sppci_bus": "spdisplays_builtin",
    "sppci_cores": "19",
    "sppci_device_type": "spdisplays_gpu",
    "sppci_model": "Apple M2 Pro",
}
RADEON = {
    "_name": "AMD Radeon Pro 5500M",
    "spdisplays_vendor": "sppci_vendor_amd",
    "spdisplays_vram": "8 GB",
    "sppci_model": "AMD Radeon Pro 5500M",
}
UHD = {
    "_name": "Intel UHD Graphics 630",
    "_spdisplays_vram": "1536 MB",
    "spdisplays_vendor": "Intel",
    "spdisplays_vram_shared": "1536 MB",
}


def test_system_profiler_tells_the_gpus_of_a_mac() -> None:
    m2, radeon = parse_displays(json.dumps({"SPDisplaysDataType": [M2_PRO, RADEON]}))
    assert m2 == Gpu("Apple M2 Pro", "apple", shared_memory=True)
    assert radeon == Gpu("AMD Radeon Pro 5500M", "amd", False, 8 * GIB)


def test_an_intel_macs_own_gpu_shares_the_memory() -> None:
    (gpu,) = parse_displays(json.dumps({"SPDisplaysDataType": [UHD]}))
    assert gpu == Gpu("Intel UHD Graphics 630", "intel", shared_memory=True)


@pytest.mark.parametrize(
    "document",
    [None, 5, [], {}, {"SPDisplaysDataType": 5}, {"SPDisplaysDataType": [5, {}, {"_name": 7}]}],
)
def test_other_json_is_no_gpu(document: object) -> None:
    assert parse_displays(json.dumps(document)) == ()
    assert parse_displays("[" * 100_000) == ()


def card(root: Path, name: str, uevent: str, **files: str) -> None:
    folder = root / name / "device"
    folder.mkdir(parents=True)
    (folder / "uevent").write_text(uevent)
    for file, text in files.items():
        (folder / file).write_text(f"{text}\n")


def test_linux_tells_a_radeon_from_the_processors_own_gpu(tmp_path: Path) -> None:
    memory = {"mem_info_vram_total": str(8 * GIB), "mem_info_vram_used": str(GIB)}
    vendor = {"vendor": "0x1002", "mem_info_vram_vendor": "samsung"}
    card(tmp_path, "card1", "DRIVER=amdgpu\n", device="0x7480", **vendor, **memory)
    card(tmp_path, "card2", "DRIVER=amdgpu\n", vendor="0x1002", device="0x15bf", **memory)
    radeon, own = read_cards(tmp_path)
    assert radeon == Gpu("AMD GPU 1002:7480", "amd", False, 8 * GIB, 7 * GIB, driver="amdgpu")
    assert own == Gpu("AMD GPU 1002:15bf", "amd", True, driver="amdgpu")


def test_linux_tells_an_arc_card_from_the_processors_own_gpu(tmp_path: Path) -> None:
    own = "DRIVER=i915\nPCI_SLOT_NAME=0000:00:02.0\n"
    card(tmp_path, "card0", own, vendor="0x8086", device="0x46a6")
    card(
        tmp_path, "card1", "DRIVER=xe\nPCI_SLOT_NAME=0000:03:00.0", vendor="0x8086", device="0xe20b"
    )
    assert [gpu.shared_memory for gpu in read_cards(tmp_path)] == [True, False]


def test_a_raspberry_pis_gpu_is_found_and_its_display_is_none(tmp_path: Path) -> None:
    card(tmp_path, "card0", "DRIVER=v3d\nOF_COMPATIBLE_0=brcm,2712-v3d\nOF_COMPATIBLE_N=1\n")
    card(tmp_path, "card1", "DRIVER=vc4-drm\nOF_COMPATIBLE_0=brcm,bcm2712-vc6\n")
    (gpu,) = read_cards(tmp_path)
    assert gpu == Gpu("VideoCore brcm,2712-v3d", "broadcom", True, driver="v3d")


def test_outputs_display_chips_and_odd_files_are_no_gpus(tmp_path: Path) -> None:
    card(tmp_path, "card0", "DRIVER=ast\n", vendor="0x1a03", device="0x2000")
    card(tmp_path, "card0-HDMI-A-1", "DRIVER=amdgpu\n", vendor="0x1002")
    card(tmp_path, "card1", "DRIVER\n=\n", vendor="0x" + "f" * 300)
    (tmp_path / "version").write_text("drm 1.1.0")
    assert read_cards(tmp_path) == ()
    assert read_cards(tmp_path / "nowhere") == ()


IRIS = {
    "DriverDesc": "Intel(R) Iris(R) Xe Graphics",
    "MatchingDeviceId": "PCI\\VEN_8086&DEV_46A6",
    "DriverVersion": "31.0.101.4502",
    "HardwareInformation.qwMemorySize": 128 * MIB,
}
RTX = {
    "DriverDesc": "NVIDIA GeForce RTX 4070",
    "MatchingDeviceId": "PCI\\VEN_10DE&DEV_2786",
    "DriverVersion": "32.0.15.6094",
    "HardwareInformation.qwMemorySize": 12282 * MIB,
}


def test_the_registry_tells_cards_from_the_processors_own_gpu() -> None:
    assert describe_adapter(IRIS) == Gpu(
        "Intel(R) Iris(R) Xe Graphics", "intel", True, driver="31.0.101.4502"
    )
    assert describe_adapter(RTX) == Gpu(
        "NVIDIA GeForce RTX 4070", "nvidia", False, 12282 * MIB, driver="560.94"
    )


@pytest.mark.parametrize(
    ("name", "vendor", "shared"),
    [
        ("AMD Radeon(TM) Graphics", "1002", True),
        ("AMD Radeon 780M Graphics", "1002", True),
        ("AMD Radeon(TM) Vega 8 Graphics", "1002", True),
        ("AMD Radeon(TM) 8060S Graphics", "1002", True),
        ("AMD Radeon RX 7900 XTX", "1002", False),
        ("AMD Radeon RX 7600M XT", "1002", False),
        ("Intel(R) UHD Graphics 620", "8086", True),
        ("Intel(R) Arc(TM) Graphics", "8086", True),
        ("Intel(R) Arc(TM) 140V GPU (16GB)", "8086", True),
        ("Intel(R) Arc(TM) A770 Graphics", "8086", False),
        ("Intel(R) Arc(TM) B580 Graphics", "8086", False),
    ],
)
def test_windows_names_of_gpus_in_processors_are_known(
    name: str, vendor: str, shared: bool
) -> None:
    gpu = describe_adapter({"DriverDesc": name, "MatchingDeviceId": f"pci\\ven_{vendor}&dev_1"})
    assert gpu is not None
    assert gpu.shared_memory is shared


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"DriverDesc": 5, "MatchingDeviceId": b"x"},
        {"DriverDesc": "Microsoft Basic Display Adapter", "MatchingDeviceId": "basicdisplay"},
        {"DriverDesc": "Citrix", "MatchingDeviceId": "PCI\\VEN_ZZZZ"},
    ],
)
def test_adapters_without_a_gpu_are_none(values: Mapping[str, object]) -> None:
    assert describe_adapter(values) is None


def test_memory_in_bytes_is_read_and_impossible_memory_is_unknown() -> None:
    key = "HardwareInformation.qwMemorySize"
    whole = describe_adapter({**RTX, key: (8 * GIB).to_bytes(8, "little")})
    odd = describe_adapter({**RTX, key: -1})
    assert whole is not None
    assert odd is not None
    assert (whole.memory_total_bytes, odd.memory_total_bytes) == (8 * GIB, None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a registry")
def test_there_is_no_registry_elsewhere() -> None:
    assert read_adapters() == ()


class Registry:
    """A stand-in for winreg, with one readable driver beside keys that are not there."""

    HKEY_LOCAL_MACHINE = 1

    @contextmanager
    def OpenKey(self, root: int, path: str) -> Iterator[Mapping[str, object]]:  # noqa: N802
        if root != 1 or path != CLASS_KEY + r"\0001":
            raise FileNotFoundError(path)
        yield RTX

    def QueryValueEx(self, key: Mapping[str, object], name: str) -> tuple[object, int]:  # noqa: N802
        if name not in key:
            raise FileNotFoundError(name)
        return key[name], 0


def test_windows_registry_is_read_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "winreg", Registry())
    (gpu,) = read_adapters()
    assert gpu == describe_adapter(RTX)


def test_what_nvidia_tells_takes_the_place_of_what_the_system_knows() -> None:
    told, known = Gpu("told", "nvidia", False), Gpu("known", "nvidia", False)
    other = Gpu("other", "amd", False)
    assert merge_nvidia((told,), (known, other)) == (told, other)
    assert merge_nvidia((), (known, other)) == (known, other)


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An nvidia-smi of ours, the only one there is."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


@pytest.mark.skipif(sys.platform != "linux", reason="runs a shell script as a Linux driver's tool")
def test_a_driver_that_does_not_know_compute_capability_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = "case $1 in *compute_cap*) exit 2;; *) echo Tesla K80, 11441, 11000, 470.82.01;; esac"
    tool(tmp_path, monkeypatch, answer)
    gpu = find_gpus()[0]
    assert gpu == Gpu("Tesla K80", "nvidia", False, 11441 * MIB, 11000 * MIB, None, "470.82.01")


@pytest.mark.skipif(sys.platform != "linux", reason="runs a shell script as a Linux driver's tool")
@pytest.mark.parametrize("script", ["sleep 9; {0}", "{0}; kill -9 $$", "{0}; exit 9", "exit 0"])
def test_a_tool_that_hangs_dies_or_fails_finds_nothing(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tmp_path, monkeypatch, script.format("echo Tesla T4, 15360, 14992, 580.95.05, 7.5"))
    monkeypatch.setattr(find, "_LIMIT_S", 0.2)
    assert "Tesla T4" not in [gpu.name for gpu in find_gpus()]
