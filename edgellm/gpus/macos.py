"""GPUs as macOS's system_profiler lists them."""

import json
import re

from edgellm.gpus.gpu import MAX_GPUS, Gpu, clean_name

PROGRAM = "/usr/sbin/system_profiler"
ARGUMENTS = ("SPDisplaysDataType", "-json", "-detailLevel", "mini")
_VRAM = re.compile(r"(\d{1,7}) ?(MB|GB)")


def parse_displays(text: str) -> tuple[Gpu, ...]:
    """GPUs from the tool's JSON; whatever is not as expected is left out."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    rows = document.get("SPDisplaysDataType") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        return ()
    found = (_gpu(row) for row in rows[:MAX_GPUS] if isinstance(row, dict))
    return tuple(gpu for gpu in found if gpu is not None)


def _gpu(row: dict[str, object]) -> Gpu | None:
    name = _text(row, "sppci_model") or _text(row, "_name")
    if not name:
        return None
    vendor = _vendor(_text(row, "spdisplays_vendor").lower())
    total_bytes = _vram_bytes(_text(row, "spdisplays_vram") or _text(row, "_spdisplays_vram"))
    # Apple's own GPUs list no memory; Intel's say which part of the machine's they take.
    if vendor == "apple" or "spdisplays_vram_shared" in row:
        total_bytes = None
    shared = total_bytes is None
    return Gpu(clean_name(name), vendor, shared_memory=shared, memory_total_bytes=total_bytes)


def _vendor(text: str) -> str:
    """From such as "sppci_vendor_Apple" or "sppci_vendor_amd"; older systems add "(0x1002)"."""
    known = ("apple", "nvidia", "intel", "amd")
    return next((vendor for vendor in known if vendor in text), "other")


def _vram_bytes(text: str) -> int | None:
    match = _VRAM.fullmatch(text.strip())
    if match is None:
        return None
    return int(match[1]) << (20 if match[2] == "MB" else 30)


def _text(row: dict[str, object], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""
