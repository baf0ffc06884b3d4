"""How long a plan takes: `python -m benchmarks.planning`; specs of real shapes, no weights."""

import statistics
import time

from benchmarks.report import write_result
from edgellm.plan import Budget
from edgellm.planner import make_plan
from edgellm.quant_tables import load_tables
from edgellm.spec import ModelSpec
from tests.support.specs import make_spec

ROUNDS = 5
GIB = 2**30
SHAPES: dict[str, tuple[ModelSpec, int]] = {
    "8B in 5 GiB": (
        make_spec(
            layers=32,
            hidden=4096,
            ffn=14336,
            heads=32,
            kv_heads=8,
            head_dim=128,
            vocab=128256,
            tied=False,
        ),
        5 * GIB,
    ),
    "70B in 40 GiB": (
        make_spec(
            layers=80,
            hidden=8192,
            ffn=28672,
            heads=64,
            kv_heads=8,
            head_dim=128,
            vocab=128256,
            tied=False,
        ),
        40 * GIB,
    ),
}


def main() -> None:
    tables = load_tables()
    figures = {}
    for name, (spec, memory_bytes) in SHAPES.items():
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            make_plan(spec, Budget(4096, memory_bytes=memory_bytes), tables)
            seconds.append(time.perf_counter() - began)
        figures[name] = round(statistics.median(seconds), 3)
    print(figures)
    print(write_result("planning", {"median_s": figures}))


if __name__ == "__main__":
    main()
