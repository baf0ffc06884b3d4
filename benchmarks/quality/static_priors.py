"""Measures what quant_tables/static_priors.toml holds, and what it is worth.

    python -m benchmarks.quality.static_priors TEXT --evaluate OTHER_TEXT

One role at a time, then one layer at a time, is stored coarsely while all else stays f16; the KL
divergence through llama.cpp, divided by the format's relative error power, is the prior.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.quality.divergence import Reference, quantize_preset
from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.plan import Budget, Plan, TensorChoice
from edgellm.planner import make_plan, settle_plan, uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.quant_tables.loader import MATRIX_ROLES
from edgellm.spec import TensorSpec

FORMATS = ("q2_K", "q3_K", "q4_0")
KV_PAIRS = (
    ("q8_0", "q8_0"), ("q8_0", "q5_1"), ("q8_0", "q5_0"), ("q8_0", "q4_0"),
    ("q5_1", "q4_0"), ("q5_0", "q4_0"), ("q4_0", "q4_0"), ("q4_0", "q8_0"),
)  # fmt: skip
PRESETS = {"Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15}  # llama_ftype
WINDOW = 512
SKIP = 64  # positions with little context say little


class Bench:
    """One checkpoint and its f16 reference."""

    def __init__(self, folder: Path, text: str, windows: int, scratch: Path) -> None:
        self.tables = load_tables()
        self.checkpoint = open_checkpoint(folder)
        self.spec = read_spec(self.checkpoint)
        self.scratch = scratch
        self.f16 = uniform_plan(self.spec, "f16", Budget(WINDOW), self.tables)
        self.reference_file = self.write(self.f16, "reference")
        self.reference = Reference(self.reference_file, text, WINDOW, windows, SKIP)

    def write(self, plan: Plan, name: str) -> Path:
        out = self.scratch / name
        convert(self.checkpoint, self.spec, plan, out, tables=self.tables, overwrite=True)
        return out / "model.gguf"

    def measure(self, plan: Plan) -> float:
        return self.reference.divergence(self.write(plan, "candidate"))

    def only(self, chosen: Callable[[TensorSpec], bool], name: str) -> Plan:
        """The f16 plan with the chosen matrices in another format."""
        tensors = tuple(
            TensorChoice(choice.name, name, choice.bytes)
            if tensor.is_matrix and chosen(tensor)
            else choice
            for tensor, choice in zip(self.spec.tensors, self.f16.tensors, strict=True)
        )
        return settle_plan(self.spec, replace(self.f16, tensors=tensors), self.tables, "benchmark")


def role_priors(bench: Bench) -> dict[str, dict[str, float]]:
    """KL divergence over error power for each role and format."""
    present = {tensor.role for tensor in bench.spec.tensors}
    return {
        role.value: {
            name: bench.measure(bench.only(lambda t, r=role: t.role is r, name))  # type: ignore[misc]
            / bench.tables.weight_formats[name].relative_rmse ** 2
            for name in FORMATS
        }
        for role in MATRIX_ROLES
        if role in present
    }


def layer_shares(bench: Bench, name: str = "q3_K") -> list[float]:
    """KL divergence of each layer alone, against the median layer's."""
    found = [
        bench.measure(bench.only(lambda t, i=layer: t.layer == i, name))  # type: ignore[misc]
        for layer in range(bench.spec.layers)
    ]
    return [value / median(found) for value in found]


def cache_divergences(bench: Bench) -> dict[str, float]:
    return {
        f"{key}/{value}": bench.reference.divergence(bench.reference_file, key, value)
        for key, value in KV_PAIRS
    }


def against_presets(bench: Bench) -> dict[str, dict[str, float]]:
    """The static plan and llama.cpp's preset at the preset's bytes, both without statistics."""
    rows = {}
    for name, ftype in PRESETS.items():
        target = bench.scratch / "preset.gguf"
        preset_bytes = quantize_preset(bench.reference_file, target, ftype)
        bpw = 8 * preset_bytes / bench.spec.parameters
        plan = make_plan(bench.spec, Budget(WINDOW, target_bpw=bpw), bench.tables)
        rows[name] = {
            "preset_bytes": preset_bytes,
            "plan_bytes": sum(tensor.bytes for tensor in plan.tensors),
            "preset_kl_divergence": bench.reference.divergence(target),
            "plan_kl_divergence": bench.measure(plan),
            "predicted_kl_divergence": plan.predicted_kl_divergence or 0.0,
        }
    return rows


@contextmanager
def opened(folder: Path, text: Path, windows: int) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Bench(folder, text.read_text(encoding="utf-8"), windows, Path(scratch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="text the priors are measured on")
    parser.add_argument("--evaluate", type=Path, help="other text to compare with presets on")
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--windows", type=int, default=8)
    options = parser.parse_args()
    figures: dict[str, object] = {}
    with opened(options.checkpoint, options.text, options.windows) as bench:
        figures["model"] = bench.spec.name
        figures["prior_by_role_and_format"] = role_priors(bench)
        figures["layer_over_median_layer"] = layer_shares(bench)
        figures["cache_kl_divergence"] = cache_divergences(bench)
    with opened(options.checkpoint, options.evaluate or options.text, options.windows) as bench:
        figures["against_presets"] = against_presets(bench)
    show(figures)
    write_result("static_priors", figures)


def show(figures: dict[str, object]) -> None:
    for title, table in figures.items():
        print(title)
        if isinstance(table, dict):
            for name, value in table.items():
                print(f"  {name:16} {value}")
        else:
            print(f"  {table}")


if __name__ == "__main__":
    main()
