"""What this machine is: processor, cores, memory it has and memory free for us now."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


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
    limit_bytes, free_bytes = _container_memory(_CGROUPS)
    logical = _usable_cores()
    return Hardware(
        system=platform.system(),
        machine=platform.machine(),
        processor=_processor_name(),
        physical_cores=min(psutil.cpu_count(logical=False) or logical, logical),
        logical_cores=logical,
        memory_total_bytes=min(memory.total, limit_bytes or memory.total),
        memory_available_bytes=memory.available
        if free_bytes is None
        else min(memory.available, free_bytes),
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


def _container_memory(root: Path, own: str | None = None) -> tuple[int | None, int | None]:
    """The tightest memory limit of this process's control groups and what is left under it.

    root: where the control groups are mounted. own: this process's group, read from /proc by
    default. None where there is no limit; both versions of control groups are understood.
    """
    limits = [found for group in _groups(root, own) if (found := _group_memory(group))]
    if not limits:
        return None, None
    return min(limit for limit, _ in limits), min(left for _, left in limits)


def _groups(root: Path, own: str | None) -> list[Path]:
    """The process's control group and everything above it; a limit on any of them binds."""
    relative = (own if own is not None else _own_group()).strip("/")
    below = [root / "/".join(relative.split("/")[:depth]) for depth in range(_depth(relative) + 1)]
    return [*below, root / "memory"]


def _depth(relative: str) -> int:
    return len(relative.split("/")) if relative else 0


def _own_group() -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def _group_memory(group: Path) -> tuple[int, int] | None:
    """(limit, bytes left) of one control group, version 2 or 1; None without a limit."""
    limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
    if limit is None or limit >= 2**60:  # version 1 writes a huge number for "no limit"
        return None
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
    return limit, max(0, limit - used + _reclaimable(group / "memory.stat"))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(path: Path) -> int:
    """Bytes of file cache that count as used although the kernel drops them on demand."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    rows = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(rows.get("total_inactive_file", rows.get("inactive_file", "0")))
