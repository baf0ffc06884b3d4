"""NVIDIA's GPUs, as nvidia-smi lists them."""

from collections.abc import Sequence

from edgellm.gpus.gpu import MAX_GPUS, Gpu, clean_name, parse_capability

_MIB = 1 << 20
_MOST_MIB = 1 << 30
_BASIC = ("name", "memory.total", "memory.free", "driver_version")
# Drivers before 510 refuse the whole question for the one field they do not know.
QUERIES = ((*_BASIC, "compute_cap"), _BASIC)
LAYOUT = ("--format=csv,noheader,nounits",)


def parse_rows(text: str, query: Sequence[str]) -> tuple[Gpu, ...]:
    """GPUs from a table of one line each with the fields of `query`; other lines are left out."""
    gpus = []
    for line in text.splitlines()[:MAX_GPUS]:
        # The name comes first and is the only field that could hold a comma.
        values = [value.strip() for value in line.rsplit(",", len(query) - 1)]
        if len(values) == len(query) and values[0]:
            gpus.append(_gpu(dict(zip(query, values, strict=True))))
    return tuple(gpus)


def _gpu(row: dict[str, str]) -> Gpu:
    total_bytes = _mebibytes(row["memory.total"])
    return Gpu(
        name=clean_name(row["name"]),
        vendor="nvidia",
        # Of a Jetson or a GB10, which work in the machine's memory, it says "[N/A]".
        shared_memory=total_bytes is None,
        memory_total_bytes=total_bytes,
        memory_free_bytes=None if total_bytes is None else _mebibytes(row["memory.free"]),
        compute_capability=parse_capability(row.get("compute_cap", "")),
        driver=clean_name(row["driver_version"]),
    )


def _mebibytes(text: str) -> int | None:
    """Bytes of a number of MiB; None for what is none or cannot be."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        return None
    return int(text) * _MIB if 0 < int(text) <= _MOST_MIB else None
