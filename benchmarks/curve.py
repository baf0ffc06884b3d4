"""What the curve of `plan --curve` takes: `python -m benchmarks.curve`; real shapes, no weights."""

import time

from benchmarks.planning import SHAPES, judges
from benchmarks.report import write_result
from edgellm.plan import Budget
from edgellm.planner.curve import STEPS, curve
from edgellm.quant_tables import load_tables

CONTEXT = 4096


def main() -> None:
    tables = load_tables()
    seconds = {}
    for name, (spec, _) in SHAPES.items():
        for kind, judge in judges(spec, tables).items():
            began = time.process_time()
            curve(spec, Budget(CONTEXT), tables, judge)
            taken = time.process_time() - began
            seconds[f"{name.split()[0]}, tensors {kind}"] = round(taken, 2)
    print(seconds)
    print(write_result("curve", {"plans": STEPS, "cpu_s": seconds}))


if __name__ == "__main__":
    main()
