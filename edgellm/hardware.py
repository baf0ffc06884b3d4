"""What this machine is: processor, cores, memory it has and memory free for us now."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgellm.control_groups import container_memory


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


def detect_hardware() -> Hardware:
    """Look at this machine. Under a container's memory limit, the limit counts."""
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
