"""Memory limits that Linux control groups, and so containers, put on this process."""

from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 2**60  # version 1 writes a huge number where there is no limit


def container_memory(root: Path = MOUNT, own: str | None = None) -> tuple[int, int] | None:
    """The tightest (limit, bytes left under it) of the groups above this process, or None.

    root: where the groups are mounted. own: this process's group; None reads it from /proc.
    Versions 1 and 2 are understood.
    """
    group = (_own_group() if own is None else own).strip("/")
    folders = [root, root / "memory"]  # version 1 keeps a container's own limit in the latter
    for name in filter(None, group.split("/")):
        folders.append((folders[-1] if len(folders) > 2 else root) / name)
    found = [memory for folder in folders if (memory := _group_memory(folder))]
    if not found:
        return None
    return min(limit for limit, _ in found), min(left for _, left in found)


def _own_group() -> str:
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


def _group_memory(folder: Path) -> tuple[int, int] | None:
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    if limit is None or limit >= _NO_LIMIT_BYTES:
        return None
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
    return limit, min(limit, max(0, limit - used + _inactive_file_bytes(folder)))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _inactive_file_bytes(folder: Path) -> int:
    """File cache that counts as used although the kernel drops it on demand."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    rows = dict(line.split(maxsplit=1) for line in lines if " " in line)
    return int(rows.get("total_inactive_file", rows.get("inactive_file", "0")))
