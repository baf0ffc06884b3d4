"""Buffer sizes as llama.cpp logs them: the only place where it says what it allocated."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_KV_CACHE = re.compile(r"KV buffer size = ([\d.]+) MiB")
_COMPUTE = re.compile(r"(?:compute|output) buffer size = ([\d.]+) MiB")


@dataclass(frozen=True, slots=True)
class BufferBytes:
    """What llama.cpp says it has allocated."""

    weights_bytes: int = 0
    kv_cache_bytes: int = 0
    compute_bytes: int = 0

    def __add__(self, other: "BufferBytes") -> "BufferBytes":
        return BufferBytes(
            self.weights_bytes + other.weights_bytes,
            self.kv_cache_bytes + other.kv_cache_bytes,
            self.compute_bytes + other.compute_bytes,
        )


def logged_bytes(lines: Iterable[str]) -> tuple[int, int]:
    """(KV cache, compute) bytes over all devices, to the 0.01 MiB that llama.cpp prints."""
    kv_cache_bytes = compute_bytes = 0
    for line in lines:
        if found := _KV_CACHE.search(line):
            kv_cache_bytes += round(float(found[1]) * (1 << 20))
        elif found := _COMPUTE.search(line):
            compute_bytes += round(float(found[1]) * (1 << 20))
    return kv_cache_bytes, compute_bytes
