"""Time and peak memory of a calibration, and what it finds, by role.

python -m benchmarks.quality.calibration --record
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil

from benchmarks.report import write_result
from edgellm.bundled import bundled_calibration_text, bundled_checkpoint
from edgellm.calibration import Calibration
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.calibration.calibrate import DEFAULT_TOKENS, calibrate
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.progress import Progress
from edgellm.quant_tables import load_tables
from edgellm.spec import ModelSpec

CONTEXT_TOKENS = 512


class Watch:
    """Notes the largest resident memory and how often a window ran."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.runs: dict[str, int] = defaultdict(int)

    def __call__(self, progress: Progress) -> None:
        self.runs[progress.phase] += 1
        self.peak_bytes = max(self.peak_bytes, psutil.Process().memory_info().rss)


def gains_by_role(spec: ModelSpec, calibration: Calibration) -> dict[str, list[float]]:
    """Least, median and greatest gain of each role's tensors."""
    gains: dict[str, list[float]] = defaultdict(list)
    for tensor in spec.tensors:
        if tensor.name in calibration.noise_gain:
            gains[tensor.role.value].append(calibration.noise_gain[tensor.name])
    if calibration.head_gain is not None:
        gains["tied_head"].append(calibration.head_gain)
    return {role: [min(found), median(found), max(found)] for role, found in gains.items()}


def measure(folder: Path, text: str, tokens: int, threads: int | None) -> dict[str, object]:
    checkpoint, tables = open_checkpoint(folder), load_tables()
    spec = read_spec(checkpoint)
    plan = uniform_plan(spec, "f16", Budget(CONTEXT_TOKENS), tables)
    with tempfile.TemporaryDirectory() as scratch:
        convert(checkpoint, spec, plan, Path(scratch) / "f16", tables=tables)
        gguf, cache = Path(scratch) / "f16" / "model.gguf", Path(scratch) / "cache"
        before_bytes, watch, started = psutil.Process().memory_info().rss, Watch(), perf_counter()
        found = calibrate(
            gguf, spec, text, tokens=tokens, cache=cache, threads=threads, progress=watch
        )
        calibrated = perf_counter()
        calibrate(gguf, spec, text, tokens=tokens, cache=cache, threads=threads)
        return {
            "model": spec.name,
            "parameters": spec.parameters,
            "tokens": found.tokens,
            "threads": threads,
            "seconds": round(calibrated - started, 2),
            "seconds_when_cached": round(perf_counter() - calibrated, 3),
            "runs_of_a_window": dict(watch.runs),
            "peak_resident_bytes": watch.peak_bytes,
            "resident_before_bytes": before_bytes,
            "gguf_bytes": gguf.stat().st_size,
            "gain_by_role_least_median_greatest": gains_by_role(spec, found),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--text", type=Path, help="instead of the bundled text")
    parser.add_argument("--tokens", type=int, default=DEFAULT_TOKENS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/")
    options = parser.parse_args()
    text = options.text.read_text("utf-8") if options.text else bundled_calibration_text()
    figures = measure(options.checkpoint, text, options.tokens, options.threads)
    for name, value in figures.items():
        print(f"{name:36} {value}")
    if options.record:
        write_result("calibration", figures)


if __name__ == "__main__":
    main()
