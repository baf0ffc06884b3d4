"""GPUs as Windows's registry lists the drivers of display adapters.

WMI's own figure of an adapter's memory stops at 4 GiB; the drivers write the true one here.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress

from edgellm.gpus.gpu import MAX_GPUS, VENDORS, Gpu, clean_name

CLASS_KEY = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
_NAME, _DEVICE, _DRIVER = "DriverDesc", "MatchingDeviceId", "DriverVersion"
_MEMORY = ("HardwareInformation.qwMemorySize", "HardwareInformation.MemorySize")
_VENDOR = re.compile(r"ven_([0-9a-f]{4})", re.IGNORECASE)
_MOST_BYTES = 1 << 50
# GPUs inside processors. Their drivers name some of the machine's memory as their own.
_ON_CHIP = re.compile(
    r"Radeon(\(TM\)|™)?( RX)?( Vega)?( \d+)? Graphics"  # AMD Radeon(TM) Vega 8 Graphics
    r"|Radeon(\(TM\)|™)? \d{3,4}[MS]\b"  # AMD Radeon 780M, 8060S; cards say RX 7600M
    r"|Intel.*(?<!Arc)\b(HD|UHD|Iris|Xe)\b.*Graphics"
    r"|Intel.*Arc(\(TM\)|™)? (\d+V )?(GPU|Graphics)"  # in Core Ultra; cards say A770, B580
    r"|Adreno",
    re.IGNORECASE,
)


def read_adapters() -> tuple[Gpu, ...]:
    """The GPUs that the registry knows; empty on other systems."""
    found = (describe_adapter(values) for values in _driver_keys())
    return tuple(gpu for gpu in found if gpu is not None)


def describe_adapter(values: Mapping[str, object]) -> Gpu | None:
    """The GPU of one driver's values; None for a remote desktop, a basic driver and such."""
    name, device = values.get(_NAME), values.get(_DEVICE)
    match = _VENDOR.search(device) if isinstance(device, str) else None
    vendor = VENDORS.get(int(match[1], 16)) if match else None
    if not isinstance(name, str) or (vendor is None and "adreno" not in name.lower()):
        return None
    shared = _ON_CHIP.search(name) is not None
    driver = _driver(values.get(_DRIVER), vendor)
    return Gpu(
        name=clean_name(name),
        vendor=vendor or "qualcomm",
        shared_memory=shared,
        memory_total_bytes=None if shared else _memory_bytes(values),
        driver=driver,
    )


def _driver(version: object, vendor: str | None) -> str | None:
    """The version, as its maker counts: NVIDIA's 536.23 is 31.0.15.3623 to Windows."""
    if not isinstance(version, str) or not version:
        return None
    digits = "".join(version.split(".")[-2:])
    if vendor == "nvidia" and version.count(".") == 3 and digits.isdigit() and len(digits) > 5:
        return f"{digits[-5:-2]}.{digits[-2:]}"
    return clean_name(version)


def _memory_bytes(values: Mapping[str, object]) -> int | None:
    """The first figure that is one; some drivers write it as little-endian bytes."""
    for key in _MEMORY:
        value = values.get(key)
        if isinstance(value, bytes) and len(value) in (4, 8):
            value = int.from_bytes(value, "little")
        if type(value) is int and 0 < value <= _MOST_BYTES:
            return value
    return None


def _driver_keys() -> Iterator[Mapping[str, object]]:
    """The values of each driver's key; what may not be read is left out."""
    if sys.platform != "win32":
        return
    import winreg

    for index in range(MAX_GPUS):
        values: dict[str, object] = {}
        with (
            suppress(OSError),
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{CLASS_KEY}\{index:04}") as key,
        ):
            for name in (_NAME, _DEVICE, _DRIVER, *_MEMORY):
                with suppress(OSError):
                    values[name] = winreg.QueryValueEx(key, name)[0]
        yield values
