"""One graphics processor, as data; and how words of strangers become its fields."""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edgellm.errors import FormatError
from edgellm.jsonfields import JsonObject

# By the number that PCI gave each maker.
VENDORS = MappingProxyType(
    {
        0x10DE: "nvidia",
        0x1002: "amd",
        0x8086: "intel",
        0x106B: "apple",
        0x5143: "qualcomm",
        0x14E4: "broadcom",
        0x13B5: "arm",
    }
)
MAX_GPUS = 64
_MAX_NAME = 80
_CAPABILITY = re.compile(r"(\d{1,2})\.(\d)")
_KEYS = (
    "name",
    "vendor",
    "shared_memory",
    "memory_total_bytes",
    "memory_free_bytes",
    "compute_capability",
    "driver",
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """The facts of one graphics processor at one moment."""

    name: str
    vendor: str  # one of VENDORS' names, or "other"
    shared_memory: bool  # it works in the machine's memory and has next to none of its own
    memory_total_bytes: int | None = None  # of its own; None where there is none or nobody tells
    memory_free_bytes: int | None = None
    compute_capability: tuple[int, int] | None = None  # what NVIDIA calls it; None for others
    driver: str | None = None  # its version or, where that is not known, its name

    def to_json(self) -> dict[str, Any]:
        """JSON types; the compute capability is text, such as "7.5"."""
        capability = self.compute_capability
        return {
            "name": self.name,
            "vendor": self.vendor,
            "shared_memory": self.shared_memory,
            "memory_total_bytes": self.memory_total_bytes,
            "memory_free_bytes": self.memory_free_bytes,
            "compute_capability": None if capability is None else "{}.{}".format(*capability),
            "driver": self.driver,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> "Gpu":
        """What `to_json` wrote. Raises FormatError."""
        fields.only(*_KEYS)
        shown = fields.text("compute_capability") if fields.has("compute_capability") else None
        capability = None if shown is None else parse_capability(shown)
        if shown is not None and capability is None:
            where = f"{fields.path}.compute_capability"
            raise FormatError(fields.source, f"{where} is {shown!r}; expected such as 7.5")
        total, free = "memory_total_bytes", "memory_free_bytes"
        return cls(
            name=fields.text("name"),
            vendor=fields.text("vendor"),
            shared_memory=fields.flag("shared_memory"),
            memory_total_bytes=fields.integer(total) if fields.has(total) else None,
            memory_free_bytes=fields.integer(free) if fields.has(free) else None,
            compute_capability=capability,
            driver=fields.text("driver") if fields.has("driver") else None,
        )


def parse_capability(text: str) -> tuple[int, int] | None:
    """Read "7.5"; None for anything else."""
    match = _CAPABILITY.fullmatch(text.strip())
    return (int(match[1]), int(match[2])) if match else None


def clean_name(text: str) -> str:
    """A name that can stand in a line: printable, one space between words, not endless."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * _MAX_NAME])
    return " ".join(printable.split())[:_MAX_NAME].rstrip() or "unnamed GPU"
