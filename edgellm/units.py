"""Byte sizes as people write and read them; the only place that knows GiB."""

import re

from edgellm.errors import UsageError

_UNITS = {
    "B": 1,
    "K": 10**3,
    "KB": 10**3,
    "KIB": 2**10,
    "M": 10**6,
    "MB": 10**6,
    "MIB": 2**20,
    "G": 10**9,
    "GB": 10**9,
    "GIB": 2**30,
    "T": 10**12,
    "TB": 10**12,
    "TIB": 2**40,
}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]+)")


def parse_size(text: str) -> int:
    """Read "4GiB", "512 MiB" or "4G" as bytes; GiB is 2^30, GB and G are 10^9.

    Raises UsageError for a bare number, an unknown unit or anything below one byte.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise UsageError(f"size {text!r}: give a number with a unit, such as 4GiB, 800MiB or 4GB")
    size_bytes = int(float(match[1]) * unit) if "." in match[1] else int(match[1]) * unit
    if size_bytes < 1:
        raise UsageError(f"size {text!r} is less than one byte")
    return size_bytes


def exact_size(count: int) -> str:
    """Bytes as parse_size() reads them back, in the largest binary unit that leaves no rest."""
    for unit in ("GiB", "MiB", "KiB"):
        if count % _UNITS[unit.upper()] == 0:
            return f"{count // _UNITS[unit.upper()]}{unit}"
    return f"{count}B"


def format_bytes(count: int) -> str:
    """Show bytes in the binary unit that keeps the number between 1 and 1024: "3.73 GiB"."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{count} B" if unit == "B" else f"{amount:.2f} {unit}"
        amount /= 1024
    return f"{amount:.2f} TiB"
