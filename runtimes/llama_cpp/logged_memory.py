"""Buffer sizes as llama.cpp logs them: the only place where it says what it allocated."""

import re
from collections.abc import Iterable

_KV_CACHE = re.compile(r"KV buffer size = ([\d.]+) MiB")
_COMPUTE = re.compile(r"(?:compute|output) buffer size = ([\d.]+) MiB")


def logged_bytes(lines: Iterable[str]) -> tuple[int, int]:
    """(KV cache, compute) bytes over all devices, to the 0.01 MiB that llama.cpp prints."""
    kv_cache_bytes = compute_bytes = 0
    for line in lines:
        if found := _KV_CACHE.search(line):
            kv_cache_bytes += round(float(found[1]) * (1 << 20))
        elif found := _COMPUTE.search(line):
            compute_bytes += round(float(found[1]) * (1 << 20))
    return kv_cache_bytes, compute_bytes
