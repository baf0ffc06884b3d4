"""What keeping a reference by its likeliest tokens costs: bytes, and error of the mean KLD.

    python -m benchmarks.quality.sparse_reference TEXT

Models of several formats are compared with f16 by full logits in float64, and by what is kept at
several tails: exactly, in the file's half steps of 1/2048 nats, and in float16 for comparison.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.evaluation import Comparison, Expected, F32Array, cut_windows, first_scored
from edgellm.families import read_spec
from edgellm.likeliest import TAIL, F64Array, Likeliest, Softmax, keep_likeliest
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import ScoringOptions
from edgellm.saved_reference import STEP

WINDOW = 512
FORMATS = ("q8_0", "q4_K", "q2_K")
TAILS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True)
class Run:
    """One model's logits on every window, [positions, vocabulary] each."""

    windows: list[list[int]]
    logits: list[F32Array]


def run(folder: Path, format_name: str, text: str, count: int, scratch: Path) -> Run:
    checkpoint, tables = open_checkpoint(folder), load_tables()
    spec = read_spec(checkpoint)
    plan = uniform_plan(spec, format_name, Budget(WINDOW), tables)
    artifact = convert(checkpoint, spec, plan, scratch / format_name, tables=tables)
    options = ScoringOptions(WINDOW, first_scored(WINDOW))
    with LlamaCppRuntime().open_scorer(artifact.gguf, options) as scorer:
        windows = cut_windows(scorer.tokens(text), WINDOW, scorer.bos)[:count]
        return Run(windows, [next(iter(scorer.logits(w))).copy() for w in windows])


def stored(rows: Likeliest, log_probabilities: F64Array) -> Likeliest:
    """The rows as a file would give them back, had it kept these rounded log-probabilities."""
    raw = np.exp(log_probabilities)
    scale = (1 - rows.tails) / np.add.reduceat(raw, rows.starts[:-1])
    return replace(rows, probabilities=raw * np.repeat(scale, np.diff(rows.starts)))


def in_steps(values: F64Array) -> F64Array:
    found: F64Array = np.rint(values / STEP) * STEP
    return found


def in_float16(values: F64Array) -> F64Array:
    return values.astype(np.float16).astype(np.float64)


def exact(values: F64Array) -> F64Array:
    return values


def mean_divergence(reference: Sequence[Expected], model: Run) -> float:
    comparison = Comparison()
    for window, expected, found in zip(model.windows, reference, model.logits, strict=True):
        comparison.add(expected, found, window[first_scored(WINDOW) + 1 :])
    return comparison.result().kl_divergence.mean


def keep(reference: Run, tail: float) -> list[Likeliest]:
    first = first_scored(WINDOW) + 1
    following: list[NDArray[np.intp]] = [np.array(window[first:]) for window in reference.windows]
    return [
        keep_likeliest(Softmax(logits, "reference"), tokens, tail)
        for logits, tokens in zip(reference.logits, following, strict=True)
    ]


def relative_errors(reference: Run, models: dict[str, Run], tail: float) -> dict[str, float]:
    """Of the mean KL divergence, by model and rounding; and what one token takes in the file."""
    kept = keep(reference, tail)
    tokens = sum(map(len, kept))
    entries = sum(len(rows.tokens) for rows in kept)
    figures = {"tokens_kept": entries / tokens, "bytes_per_token": 16 + 4 * entries / tokens}
    for rounding in (exact, in_steps, in_float16):
        as_stored = [stored(rows, rounding(np.log(rows.probabilities))) for rows in kept]
        for name, model in models.items():
            full = mean_divergence(reference.logits, model)
            error = mean_divergence(as_stored, model) / full - 1
            figures[f"relative_error_{name}_{rounding.__name__}"] = error
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--windows", type=int, default=8)
    options = parser.parse_args()
    text = options.text.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        reference, *found = (
            run(options.checkpoint, name, text, options.windows, Path(scratch))
            for name in ("f16", *FORMATS)
        )
    models = dict(zip(FORMATS, found, strict=True))
    rows = {str(tail): relative_errors(reference, models, tail) for tail in TAILS}
    for tail, figures in rows.items():
        print(tail, {name: float(f"{value:.3g}") for name, value in figures.items()})
    full = {name: mean_divergence(reference.logits, model) for name, model in models.items()}
    vocabulary = reference.logits[0].shape[1]
    write_result(
        "sparse_reference",
        {
            "model": options.checkpoint.name,
            "text": options.text.name,
            "tokens": sum(map(len, reference.logits)),
            "vocabulary_size": vocabulary,
            "bytes_per_token_of_float32_logits": 4 * vocabulary,
            "default_tail": TAIL,
            "kl_divergence": full,
            "by_tail": rows,
        },
    )


if __name__ == "__main__":
    main()
