"""Each sensitivity mode beside llama.cpp's presets, at equal bytes and with the same imatrix.

    python -m benchmarks.quality.modes CALIBRATION EVALUATION...

CALIBRATION: text to calibrate on. EVALUATION: other texts, on which KL divergence is measured.
Every file is rounded with the same input statistics, so that files differ by allocation, and by the
scales of iq3_s, which only `convert` corrects. Rows come twice: with the embedding in the plan, and
with it in the preset's format. Needs torch.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from scipy.stats import spearmanr

from benchmarks.quality.divergence import quantize_preset
from benchmarks.quality.judging import Held, measured_judges
from benchmarks.quality.static_priors import WINDOW, Bench
from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.calibration import Calibration
from edgellm.converters.gguf.convert import convert
from edgellm.converters.gguf.tensors import gguf_names
from edgellm.converters.rounding.moments import rounding_moments
from edgellm.gguf_file import read_gguf
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, settle_plan
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.spec import Role

PRESETS = {"IQ2_XS": 20, "Q2_K": 10, "IQ3_XXS": 23, "Q3_K_M": 12, "IQ4_XS": 30}
Row = dict[str, object]


def preset_file(bench: Bench, ftype: int, calibration: Calibration) -> tuple[Path, int]:
    """One of llama.cpp's presets, rounded by the calibration, and its tensors' bytes."""
    names = gguf_names(bench.spec)
    moments = rounding_moments(bench.spec, calibration)
    imatrix = {names[name]: row for name, row in moments.items()}
    file = bench.scratch / "preset.gguf"
    return file, quantize_preset(bench.reference_file, file, ftype, imatrix)


def embedding_format(bench: Bench, file: Path) -> str:
    """The format that a file keeps the embedding in."""
    stored = next(t for t in read_gguf(file).tensors if t.name == "token_embd.weight")
    formats = bench.tables.weight_formats.values()
    return next(fmt.name for fmt in formats if fmt.ggml_type == stored.ggml_type)


def measure(bench: Bench, plan: Plan, calibration: Calibration) -> float:
    """KL divergence of a plan, rounded by the calibration."""
    out = bench.scratch / "candidate"
    spec, tables = bench.spec, bench.tables
    artifact = convert(
        bench.checkpoint, spec, plan, out, tables=tables, overwrite=True, calibration=calibration
    )
    return bench.reference.divergence(artifact.gguf)


def row_of(
    bench: Bench, judge: Sensitivity, plan: Plan, calibration: Calibration, preset: float
) -> dict[str, float]:
    """Measured beside predicted, and beside the preset's."""
    settled = settle_plan(bench.spec, plan, bench.tables, "benchmark", sensitivity=judge)
    found = measure(bench, settled, calibration)
    return {
        "kl_divergence": found,
        "predicted": settled.predicted_kl_divergence or 0.0,
        "over_preset": found / preset,
        "bits_per_weight": 8 * sum(choice.bytes for choice in plan.tensors) / bench.spec.parameters,
    }


def compare(
    bench: Bench, judges: Mapping[str, Sensitivity], calibration: Calibration, ftype: int
) -> Row:
    """One preset and every mode at its bytes."""
    spec, tables = bench.spec, bench.tables
    file, preset_bytes = preset_file(bench, ftype, calibration)
    kept = embedding_format(bench, file)
    embedding = next(t.name for t in spec.tensors if t.role is Role.TOKEN_EMBEDDING)
    budget = Budget(WINDOW, target_bpw=8 * preset_bytes / spec.parameters)
    preset = bench.reference.divergence(file)
    planned, same = {}, {}
    for name, judge in judges.items():
        free, held = Held(judge, {}), Held(judge, {embedding: kept})
        plan = make_plan(spec, budget, tables, sensitivity=free)
        planned[name] = row_of(bench, free, plan, calibration, preset)
        plan = make_plan(spec, budget, tables, sensitivity=held)
        assert {c.name: c.format for c in plan.tensors}[embedding] == kept, kept
        same[name] = row_of(bench, free, plan, calibration, preset)
    return {
        "bits_per_weight": 8 * preset_bytes / spec.parameters,
        "embedding_format": kept,
        "kl_divergence": preset,
        "embedding_planned": planned,
        "embedding_as_preset": same,
    }


def gains(bench: Bench, noise: Calibration, fisher: Calibration) -> dict[str, float]:
    """How alike the two measurements of a gain are, over the linears of the layers."""
    names = [t.name for t in bench.spec.tensors if t.is_matrix and t.layer is not None]
    one, other = ([c.noise_gain[name] for name in names] for c in (noise, fisher))
    ratios = sorted(b / a for a, b in zip(one, other, strict=True))
    return {
        "linears": len(names),
        "spearman": float(spearmanr(one, other).statistic),
        "fisher_over_noise_median": median(ratios),
        "fisher_over_noise_least": ratios[0],
        "fisher_over_noise_greatest": ratios[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("evaluation", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--cache", type=Path, help="folder that keeps calibrations for another run")
    options = parser.parse_args()
    text = "".join(path.read_text(encoding="utf-8") for path in options.evaluation)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options.checkpoint, text, options.windows, Path(scratch))
        found = measured_judges(
            bench, options.calibration.read_text(encoding="utf-8"), options.cache or Path(scratch)
        )
        judges = {"static": StaticSensitivity(bench.spec, bench.tables), **found.judges}
        for preset, ftype in PRESETS.items():
            rows[preset] = compare(bench, judges, found.noise, ftype)
            show(preset, rows[preset])
        figures = gains(bench, found.noise, found.fisher)
    print(figures)
    write_result("modes", {"model": bench.spec.name, "gains": figures, **rows})


def show(preset: str, row: Row) -> None:
    print(f"{preset} {row['kl_divergence']:.5f} embedding {row['embedding_format']}")
    for kind in ("embedding_planned", "embedding_as_preset"):
        modes = row[kind]
        assert isinstance(modes, dict)
        for name, found in modes.items():
            figures = "  ".join(f"{key} {value:.5f}" for key, value in found.items())
            print(f"  {kind:20} {name:8} {figures}", flush=True)


if __name__ == "__main__":
    main()
