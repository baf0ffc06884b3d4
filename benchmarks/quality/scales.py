"""Which formats' scales ggml leaves too large or too small, and what that costs.

    python -m benchmarks.quality.scales CALIBRATION

Each format alone rounds some linears of the bundled model with input statistics, one at a time, as
ggml leaves them and with every row as large as keeps its outputs' size; the divergences are added.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.converters.calibration.calibrate import WINDOW_TOKENS, observe, text_windows
from edgellm.converters.calibration.engine import Engine
from edgellm.converters.calibration.graph import F32Array, Node
from edgellm.converters.calibration.noise import Reference
from edgellm.converters.calibration.sites import Site, find_sites
from edgellm.converters.gguf.convert import convert
from edgellm.converters.gguf.ggml import load_ggml
from edgellm.families import read_spec
from edgellm.formats import WeightFormat
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables

FORMATS = ("iq3_s", "q2_K", "q3_K", "iq2_xxs", "iq3_xxs", "iq4_xs")
EVERY = 9  # of the linears, one is tried


@dataclass(frozen=True, slots=True)
class Rounded:
    """Adds to one linear's outputs what rounding its weights does to them."""

    site: Site
    change: F32Array  # of the weights: [rows, columns]

    def wants(self, node: Node) -> bool:
        return self.site.is_at(node)

    def see(self, node: Node) -> None:
        outputs = node.outputs()
        outputs += node.inputs() @ self.change.T


class Bench:
    """The model and some windows of the text, with what the model says in them."""

    def __init__(self, checkpoint: Checkpoint, engine: Engine, text: str, windows: int) -> None:
        self.checkpoint, self.engine = checkpoint, engine
        self.windows = text_windows(engine, text, windows * WINDOW_TOKENS)
        self.expected = [Reference.of(engine.run(window, None)) for window in self.windows]

    def divergence(self, site: Site, change: F32Array) -> float:
        found = [
            expected.divergence(self.engine.run(window, Rounded(site, change)))
            for window, expected in zip(self.windows, self.expected, strict=True)
        ]
        return float(np.mean(found))

    def compare(self, site: Site, fmt: WeightFormat, moments: F32Array) -> tuple[float, ...]:
        """Size of the outputs, and the divergence with ggml's scales and with corrected ones."""
        rows, ggml = self.checkpoint.read_rows(site.name, 0, site.rows), load_ggml()
        blocks = ggml.quantize(rows, fmt.ggml_type, moments)
        rounded = ggml.dequantize(blocks, fmt.ggml_type, site.columns)
        kept = (rounded * rows) @ moments / (rows**2 @ moments)
        corrected = (rounded / kept[:, None]).astype(np.float32)
        divergences = (self.divergence(site, found - rows) for found in (rounded, corrected))
        return float(kept.mean()), *divergences


def compare_formats(text: str, windows: int, scratch: Path) -> dict[str, dict[str, float]]:
    checkpoint, tables = open_checkpoint(bundled_checkpoint()), load_tables()
    spec = read_spec(checkpoint)
    plan = uniform_plan(spec, "f16", Budget(WINDOW_TOKENS), tables)
    gguf = convert(checkpoint, spec, plan, scratch / "f16", tables=tables).gguf
    moments = observe(gguf, spec, text, threads=1).input_moments
    sites = [s for s in find_sites(gguf, spec) if not s.is_lookup and not s.is_head][::EVERY]
    with Engine(gguf, WINDOW_TOKENS, 1) as engine:
        bench = Bench(checkpoint, engine, text, windows)
        return {
            name: summary(
                [bench.compare(s, tables.weight_formats[name], moments[s.name]) for s in sites]
            )
            for name in FORMATS
        }


def summary(found: Sequence[tuple[float, ...]]) -> dict[str, float]:
    kept, as_is, corrected = np.array(found).T
    return {"size_kept": kept.mean(), "corrected_over_ggml": corrected.sum() / as_is.sum()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("--windows", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        text = options.calibration.read_text(encoding="utf-8")
        figures = compare_formats(text, options.windows, Path(scratch))
    for name, found in figures.items():
        print(name, found)
    write_result("scales", dict(figures))


if __name__ == "__main__":
    main()
