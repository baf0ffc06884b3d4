"""Each sensitivity mode beside llama.cpp's presets, at equal bytes and with the same imatrix.

    python -m benchmarks.quality.modes CALIBRATION EVALUATION...

CALIBRATION: text to calibrate on. EVALUATION: other texts, on which KL divergence is measured. The
embedding takes part in the plan; presets have it in their own format.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.quality.divergence import quantize_preset
from benchmarks.quality.static_priors import WINDOW, Bench
from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.calibration import Calibration
from edgellm.converters.calibration.calibrate import calibrate
from edgellm.converters.gguf.convert import convert
from edgellm.converters.gguf.tensors import gguf_names
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.converters.rounding.moments import rounding_moments
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan
from edgellm.sensitivity.noise import NoiseSensitivity

PRESETS = {"IQ2_XS": 20, "Q2_K": 10, "IQ3_XXS": 23, "Q3_K_M": 12, "IQ4_XS": 30}
THREADS = 2


def divergence(bench: Bench, plan: Plan, calibration: Calibration | None) -> float:
    """Measured KL divergence of a plan, rounded by the calibration where there is one."""
    out = bench.scratch / "candidate"
    artifact = convert(
        bench.checkpoint,
        bench.spec,
        plan,
        out,
        tables=bench.tables,
        overwrite=True,
        calibration=calibration,
    )
    return bench.reference.divergence(artifact.gguf)


def compare(bench: Bench, calibration: Calibration) -> dict[str, dict[str, float]]:
    """One row for each preset."""
    spec, tables = bench.spec, bench.tables
    errors = measure_errors(bench.checkpoint, spec, tables, calibration, threads=THREADS)
    noise = NoiseSensitivity(spec, tables, calibration, errors)
    names = gguf_names(spec)
    imatrix = {names[name]: row for name, row in rounding_moments(spec, calibration).items()}
    rows = {}
    for preset, ftype in PRESETS.items():
        file = bench.scratch / "preset.gguf"
        preset_bytes = quantize_preset(bench.reference_file, file, ftype, imatrix)
        budget = Budget(WINDOW, target_bpw=8 * preset_bytes / spec.parameters)
        static, measured = (
            make_plan(spec, budget, tables),
            make_plan(spec, budget, tables, sensitivity=noise),
        )
        preset_kld = bench.reference.divergence(file)
        rows[preset] = {
            "bits_per_weight": 8 * preset_bytes / spec.parameters,
            "preset": preset_kld,
            "static": divergence(bench, static, None),
            "static_with_imatrix": divergence(bench, static, calibration),
            "noise": (noise_kld := divergence(bench, measured, calibration)),
            "noise_predicted": measured.predicted_kl_divergence or 0.0,
            "noise_over_preset": noise_kld / preset_kld,
        }
        print(preset, {name: round(value, 5) for name, value in rows[preset].items()}, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("evaluation", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--windows", type=int, default=12)
    options = parser.parse_args()
    text = "".join(path.read_text(encoding="utf-8") for path in options.evaluation)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options.checkpoint, text, options.windows, Path(scratch))
        calibration = calibrate(
            bench.reference_file,
            bench.spec,
            options.calibration.read_text(encoding="utf-8"),
            threads=1,
        )
        rows = compare(bench, calibration)
    write_result("modes", {"model": bench.spec.name, "kl_divergence": rows})


if __name__ == "__main__":
    main()
