"""Loads and closes a model again and again: `python -m benchmarks.worker.cycles`.

500 times: load, answer, close. The anonymous memory of the parent may grow by less than 1 KiB a
cycle (least squares over the cycles after the first 50, which fill caches); nothing may be left.

Before, what a load does without a process (finding the model, reading its plan) is done 1500 times:
the allocator heaps grow by 1 MiB over the first 400 and not at all over the rest. That is no leak
but would be counted as one here.
"""

import argparse
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.report import write_result
from benchmarks.worker.opening import leftovers, open_model, prepare_model
from edgellm.apps.loading import prepare
from edgellm.runtimes.cancel import CancelToken

PREPARATIONS = 1500
WARM_UP = 50
LIMIT_BYTES = 1024  # a cycle


def cycle(artifact: Path) -> None:
    with open_model(artifact) as model:
        model.generate("Once upon a time", max_tokens=2).result()


def own_bytes() -> int:
    """Anonymous memory; pages of libraries come and go with other processes that map them."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        return int(psutil.Process().memory_full_info().uss)
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def measure(artifact: Path, cycles: int) -> dict[str, Any]:
    for _ in range(PREPARATIONS):
        prepare(str(artifact), {"threads": 1}, CancelToken())
    samples = []
    before = None
    for number in range(cycles):
        cycle(artifact)
        if number == 0:
            before = leftovers()
        samples.append(own_bytes())
    kept = np.array(samples[WARM_UP:], dtype=np.float64)
    slope_bytes = float(np.polyfit(np.arange(len(kept)), kept, 1)[0])
    return {
        "cycles": cycles,
        "warm_up": WARM_UP,
        "preparations": PREPARATIONS,
        "first_bytes": samples[0],
        "after_warm_up_bytes": samples[WARM_UP],
        "last_bytes": samples[-1],
        "slope_bytes_per_cycle": round(slope_bytes, 1),
        "nothing_left": leftovers() == before,
        "passed": slope_bytes < LIMIT_BYTES and leftovers() == before,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(prepare_model(Path(folder)), options.cycles)
    print(figures)
    print(write_result("worker_cycles", figures))
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
