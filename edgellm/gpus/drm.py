"""GPUs as Linux's own drivers show them in /sys/class/drm."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from edgellm.gpus.gpu import MAX_GPUS, VENDORS, Gpu, clean_name

CARDS = Path("/sys/class/drm")
_MAX_TEXT = 4096
_CARD = re.compile(r"card(\d{1,4})")
_NUMBERS = ("vendor", "device", "mem_info_vram_total", "mem_info_vram_used")
_TEXTS = ("product_name", "mem_info_vram_vendor", "uevent")
# Drivers of GPUs that sit on no PCI bus. Those of displays alone (vc4, simpledrm, ...) are none.
_ON_CHIP = MappingProxyType(
    {
        "v3d": ("VideoCore", "broadcom"),
        "panfrost": ("Mali", "arm"),
        "panthor": ("Mali", "arm"),
        "msm": ("Adreno", "qualcomm"),
        "msm_dpu": ("Adreno", "qualcomm"),
        "asahi": ("Apple GPU", "apple"),
    }
)
_SHOWN = MappingProxyType({"nvidia": "NVIDIA", "amd": "AMD", "intel": "Intel"})
_INTEL_ON_CHIP = "0000:00:02.0"  # where every Intel processor has its own GPU


def read_cards(root: Path = CARDS) -> tuple[Gpu, ...]:
    """The GPUs below `root`; empty where the system has no such folder."""
    gpus = []
    for folder in _card_folders(root):
        gpu = describe_card(_texts(folder / "device"))
        if gpu is not None:
            gpus.append(gpu)
    return tuple(gpus)


def describe_card(texts: Mapping[str, str]) -> Gpu | None:
    """The GPU whose device folder holds these files; None where it only drives a display."""
    uevent = dict(line.split("=", 1) for line in texts["uevent"].splitlines() if "=" in line)
    driver = uevent.get("DRIVER")
    vendor = VENDORS.get(_number(texts["vendor"]) or 0)
    if vendor is not None and vendor in _SHOWN:
        return _on_bus(vendor, texts, uevent.get("PCI_SLOT_NAME", ""), driver)
    if driver is None or driver not in _ON_CHIP:
        return None
    name, vendor = _ON_CHIP[driver]
    compatible = uevent.get("OF_COMPATIBLE_0", "")
    shown = clean_name(f"{name} {compatible}" if compatible else name)
    return Gpu(shown, vendor, shared_memory=True, driver=driver)


def _on_bus(vendor: str, texts: Mapping[str, str], slot: str, driver: str | None) -> Gpu:
    total_bytes, used_bytes = (_number(texts[name]) for name in _NUMBERS[2:])
    if vendor == "intel":
        shared = slot == _INTEL_ON_CHIP
    else:
        # amdgpu knows who made the memory only where the card has some of its own.
        shared = vendor == "amd" and texts["mem_info_vram_vendor"] in ("", "unknown")
    free_bytes = None
    if total_bytes is not None and used_bytes is not None:
        free_bytes = max(0, total_bytes - used_bytes)
    numbers = ":".join(texts[name].removeprefix("0x") for name in _NUMBERS[:2])
    return Gpu(
        name=clean_name(texts["product_name"] or f"{_SHOWN[vendor]} GPU {numbers}"),
        vendor=vendor,
        shared_memory=shared,
        memory_total_bytes=None if shared else total_bytes,
        memory_free_bytes=None if shared else free_bytes,
        driver=driver,
    )


def _card_folders(root: Path) -> Iterator[Path]:
    """One folder a device: a card's outputs and its second nodes are left out."""
    try:
        names = [match for entry in root.iterdir() if (match := _CARD.fullmatch(entry.name))]
    except OSError:
        return
    seen = set()
    for match in sorted(names, key=lambda match: int(match[1]))[:MAX_GPUS]:
        device = (root / match[0] / "device").resolve()
        if device not in seen:
            seen.add(device)
            yield root / match[0]


def _texts(device: Path) -> dict[str, str]:
    return {name: _read(device / name) for name in (*_NUMBERS, *_TEXTS)}


def _read(path: Path) -> str:
    """A small file's text; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    """Decimal, or hexadecimal after 0x; None for anything else."""
    match = re.fullmatch(r"0x([0-9a-fA-F]{1,15})|(\d{1,18})", text, re.ASCII)
    if match is None:
        return None
    return int(match[1], 16) if match[1] else int(match[2])
