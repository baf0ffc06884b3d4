"""What a plan takes: `python -m benchmarks.planning`; specs of real shapes, no weights.

Twice: with alike tensors, as the static priors see them, and with no two alike, as measured.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import exp, log
from typing import ClassVar
from zlib import crc32

from benchmarks.report import write_result
from edgellm.formats import Tables, WeightFormat
from edgellm.plan import Budget
from edgellm.planner import make_plan
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import Caches, Sensitivity, StaticSensitivity
from edgellm.spec import ModelSpec, TensorSpec
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


@dataclass(frozen=True, slots=True)
class Unlike:
    """The static judge with factors of its own for every tensor and format.

    As where sensitivity was measured, no two tensors have the same menu.
    """

    judge: StaticSensitivity
    name: ClassVar[str] = "unlike"
    has_imatrix: ClassVar[bool] = True

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        of_tensor, of_format = _factor(tensor.name), _factor(tensor.name + weight_format.name)
        return self.judge.cost(tensor, weight_format) * of_tensor * (1 + 0.1 * of_format)

    @property
    def caches(self) -> Caches:
        return self.judge.caches


@cache
def _factor(text: str) -> float:
    """Between 1/4 and 4, evenly on a logarithmic scale."""
    return exp(log(4) * (2 * crc32(text.encode()) / 2**32 - 1))


def judges(spec: ModelSpec, tables: Tables) -> dict[str, Sensitivity]:
    static = StaticSensitivity(spec, tables, has_imatrix=True)
    return {"alike": static, "unlike": Unlike(static)}


def seconds_of(work: Callable[[], object]) -> float:
    """The median CPU time; the first of all runs, which imports, does not count."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        seconds.append(time.process_time() - began)
    return round(statistics.median(seconds), 3)


def main() -> None:
    tables = load_tables()
    figures = {
        f"{shape}, tensors {kind}": seconds_of(
            partial(make_plan, spec, Budget(4096, memory_bytes), tables, sensitivity=judge)
        )
        for shape, (spec, memory_bytes) in SHAPES.items()
        for kind, judge in judges(spec, tables).items()
    }
    print(figures)
    print(write_result("planning", {"median_cpu_s": figures}))


if __name__ == "__main__":
    main()
