"""Which text to calibrate on: the shipped one, one that the model writes itself, or both.

    python -m benchmarks.quality.calibration_texts OWN EVALUATION...

OWN: text of the kind that is evaluated, the best anyone could have. EVALUATION: texts on which the
KL divergence of plans is measured, at the same bits per weight for every calibration.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from benchmarks.quality.drawn import draw_text
from benchmarks.quality.modes import measure
from benchmarks.quality.static_priors import WINDOW, Bench
from benchmarks.report import write_result
from edgellm.bundled import bundled_calibration_text, bundled_checkpoint
from edgellm.calibration import Calibration
from edgellm.converters.calibration.calibrate import calibrate
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.plan import Budget
from edgellm.planner import make_plan
from edgellm.sensitivity.noise import NoiseSensitivity

BITS_PER_WEIGHT = (2.8, 3.4, 4.25)
OWN_BYTES = 40_000  # about as many tokens as are drawn


def outcome(bench: Bench, text: str, tokens: int) -> dict[str, object]:
    """Predicted and measured divergence by bits per weight, calibrated on one text."""
    started = perf_counter()
    found = calibrate(bench.reference_file, bench.spec, text, tokens=tokens, threads=1)
    figures: dict[str, object] = {
        "calibration_tokens": found.tokens,
        "calibration_s": round(perf_counter() - started, 1),
    }
    noise = judge(bench, found)
    for bits in BITS_PER_WEIGHT:
        budget = Budget(WINDOW, target_bpw=bits)
        plan = make_plan(bench.spec, budget, bench.tables, sensitivity=noise)
        figures[str(bits)] = {
            "predicted": plan.predicted_kl_divergence,
            "measured": measure(bench, plan, found),
        }
    return figures


def judge(bench: Bench, found: Calibration) -> NoiseSensitivity:
    spec, tables = bench.spec, bench.tables
    errors = measure_errors(bench.checkpoint, spec, tables, found, threads=1)
    return NoiseSensitivity(spec, tables, found, errors)


def compare(bench: Bench, texts: Mapping[str, str], tokens: int) -> dict[str, object]:
    rows: dict[str, object] = {}
    for name, text in texts.items():
        rows[name] = outcome(bench, text, tokens)
        print(name, rows[name], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("own", type=Path)
    parser.add_argument("evaluation", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=8192)
    options = parser.parse_args()
    evaluation = "".join(path.read_text(encoding="utf-8") for path in options.evaluation)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options.checkpoint, evaluation, options.windows, Path(scratch))
        started = perf_counter()
        drawn = draw_text(bench.reference_file, options.tokens)
        drawing_s = round(perf_counter() - started, 1)
        print("drawing_s", drawing_s, drawn[:300], flush=True)
        shipped = bundled_calibration_text()
        texts = {
            "shipped": shipped,
            "drawn": drawn,
            "both": shipped + drawn,
            "own": options.own.read_text(encoding="utf-8")[:OWN_BYTES],
        }
        rows = compare(bench, texts, options.tokens)
    write_result("calibration_texts", {"model": bench.spec.name, "drawing_s": drawing_s} | rows)


if __name__ == "__main__":
    main()
