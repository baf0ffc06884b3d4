"""What this machine is: processor, cores, GPUs, memory it has and memory free for us now."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.control_groups import container_memory
from edgellm.gpus.find import find_gpus
from edgellm.gpus.gpu import Gpu
from edgellm.jsonfields import JsonObject


@dataclass(frozen=True, slots=True)
class Hardware:
    """The facts of one machine at one moment."""

    system: str  # "Linux", "Darwin" or "Windows"
    machine: str  # "x86_64", "arm64", ... as the system names it
    processor: str  # the CPU's name, or the machine's where the system does not tell
    physical_cores: int
    logical_cores: int  # those this process may run on
    memory_total_bytes: int  # of the machine, or of the container where that is less
    memory_available_bytes: int  # usable now without swapping
    gpus: tuple[Gpu, ...] = ()  # empty where none was found, or none looked for

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON types; `from_json` is the exact inverse."""
        facts = {name: getattr(self, name) for name in (*_TEXTS, *_NUMBERS)}
        return {**facts, "gpus": [gpu.to_json() for gpu in self.gpus]}

    @classmethod
    def from_json(cls, document: object, source: str) -> "Hardware":
        """Read a report; one from before GPUs were looked for has none. Raises FormatError.

        source: names the report in errors.
        """
        top = JsonObject.at(source, "", document).only(*_TEXTS, *_NUMBERS, "gpus")
        rows = top.children("gpus") if top.has("gpus") else []
        return cls(
            system=top.text("system"),
            machine=top.text("machine"),
            processor=top.text("processor"),
            physical_cores=top.integer("physical_cores", least=1),
            logical_cores=top.integer("logical_cores", least=1),
            memory_total_bytes=top.integer("memory_total_bytes"),
            memory_available_bytes=top.integer("memory_available_bytes"),
            gpus=tuple(Gpu.read(row) for row in rows),
        )


_TEXTS = ("system", "machine", "processor")
_NUMBERS = ("physical_cores", "logical_cores", "memory_total_bytes", "memory_available_bytes")


def detect_hardware(*, gpus: bool = True) -> Hardware:
    """Look at this machine. Under a container's memory limit, the limit counts.

    gpus: look for them too, which runs a command of the driver where there is one.
    """
    import psutil

    memory = psutil.virtual_memory()
    limit_bytes, left_bytes = container_memory() or (memory.total, memory.available)
    logical = _usable_cores()
    return Hardware(
        system=platform.system(),
        machine=platform.machine(),
        processor=_processor_name(),
        physical_cores=min(psutil.cpu_count(logical=False) or logical, logical),
        logical_cores=logical,
        memory_total_bytes=min(memory.total, limit_bytes),
        memory_available_bytes=min(memory.available, left_bytes),
        gpus=find_gpus() if gpus else (),
    )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_name() -> str:
    """The CPU's name; Linux keeps it in /proc/cpuinfo, elsewhere `platform` knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
