"""What a worker costs: `python -m benchmarks.worker.cost`.

Start-up and memory of a worker before an engine is loaded, and the way of an item (a token) from
the worker to its caller: CPU of both processes with nothing else to do, and how long an item is
under way while every core is busy with other work of the same priority.
"""

import json
import multiprocessing
import os
import queue
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.report import write_result
from edgellm.runtimes.worker.connection import WorkerConnection

SERVICE = "benchmarks.worker.emitting:Emitting"
ROUNDS = 10
ITEMS = 20_000
PACED_ITEMS = 400
PAUSE_S = 0.005


class Run:
    """One call of the emitting service, with the time each item took."""

    def __init__(self, worker: WorkerConnection, items: int, pause_s: float) -> None:
        self.microseconds: list[float] = []
        ends = queue.SimpleQueue[Any]()
        began, began_cpu = time.perf_counter(), time.process_time()
        worker.start("emit", json.dumps([items, pause_s]).encode(), self._on_item, ends.put)
        self.worker_cpu_s = float(json.loads(ends.get()))
        self.parent_cpu_s = time.process_time() - began_cpu
        self.wall_s = time.perf_counter() - began
        assert len(self.microseconds) == items

    def _on_item(self, item: bytes) -> None:
        sent = int.from_bytes(item[:8], "little")
        self.microseconds.append((time.monotonic_ns() - sent) / 1000)


def open_worker() -> WorkerConnection:
    return WorkerConnection.spawn(SERVICE, memory_limit_bytes=None, engine="none")


def start_up() -> dict[str, Any]:
    """Milliseconds until a first answer, beside a bare Python; bytes of an idle worker."""
    bare, whole, resident, private = [], [], [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        bare.append(time.perf_counter() - began)
        began = time.perf_counter()
        with open_worker() as worker:
            Run(worker, 0, 0)
            whole.append(time.perf_counter() - began)
            memory = psutil.Process(worker.pid).memory_full_info()
        resident.append(memory.rss)
        private.append(memory.uss)
    return {
        "bare_python_ms": round(1000 * statistics.median(bare), 1),
        "first_answer_ms": round(1000 * statistics.median(whole), 1),
        "resident_bytes": int(statistics.median(resident)),
        "private_bytes": int(statistics.median(private)),
    }


def at_full_speed() -> dict[str, float]:
    with open_worker() as worker:
        runs = [Run(worker, ITEMS, 0) for _ in range(ROUNDS // 2)]
    return {
        name: round(1e6 * statistics.median(getattr(run, f"{name}_s") for run in runs) / ITEMS, 2)
        for name in ("wall", "worker_cpu", "parent_cpu")
    }


def paced() -> dict[str, float]:
    """One item every 5 ms, as of 200 tokens a second."""
    with open_worker() as worker:
        run = Run(worker, PACED_ITEMS, PAUSE_S)
    ordered = sorted(run.microseconds)
    return {
        "median_us": round(ordered[len(ordered) // 2], 1),
        "p99_us": round(ordered[len(ordered) * 99 // 100], 1),
        "worker_cpu_us": round(1e6 * run.worker_cpu_s / PACED_ITEMS, 1),
        "parent_cpu_us": round(1e6 * run.parent_cpu_s / PACED_ITEMS, 1),
    }


def spin() -> None:
    while True:
        pass


@contextmanager
def busy_cores() -> Any:
    """One process on each core that never rests."""
    context = multiprocessing.get_context("spawn")
    burners = [context.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for burner in burners:
        burner.start()
    time.sleep(1)
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def main() -> None:
    figures: dict[str, Any] = {"start_up": start_up(), "full_speed_us": at_full_speed()}
    figures["paced"] = paced()
    with busy_cores():
        figures["paced_busy_cores"] = paced()
    print(json.dumps(figures, indent=1))
    print(write_result("worker_cost", figures))


if __name__ == "__main__":
    main()
