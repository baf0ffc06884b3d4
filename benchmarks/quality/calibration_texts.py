"""Which text to calibrate on: the shipped one, one that the model writes itself, or both.

    python -m benchmarks.quality.calibration_texts EVALUATION... --text own=FILE --cache FOLDER

EVALUATION: texts on which the KL divergence of plans is measured, at the same bits per weight and
from as many tokens of every calibration text. --text: further texts to compare, such as one of the
kind that is evaluated, the best anyone could have. What was measured is kept in FOLDER, so a run
can go on.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.quality.modes import measure
from benchmarks.quality.static_priors import WINDOW, Bench
from benchmarks.report import write_result
from edgellm.bundled import bundled_calibration_text, bundled_checkpoint
from edgellm.converters.calibration.calibrate import calibrate
from edgellm.converters.calibration.drawn import draw_text
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.plan import Budget
from edgellm.planner import make_plan
from edgellm.sensitivity.noise import NoiseSensitivity

SEQUENCES = 128  # as many tokens as calibration takes of any text
BITS_PER_WEIGHT = (2.8, 3.4, 4.25)
PASSAGE_CHARACTERS = 1000
Row = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Trials:
    """Measurements of plans on one bench, each made once."""

    bench: Bench
    tokens: int
    evaluation: str
    cache: Path

    def outcome(self, text: str) -> Row:
        """Predicted and measured divergence by bits per weight, calibrated on one text."""
        parts = (self.tokens, BITS_PER_WEIGHT, text, self.evaluation)
        kept = self.cache / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.json"
        if kept.is_file():
            found: Row = json.loads(kept.read_text(encoding="utf-8"))
            return found
        row = self._measured(text)
        kept.write_text(json.dumps(row), encoding="utf-8")
        return row

    def _measured(self, text: str) -> Row:
        bench = self.bench
        found = calibrate(
            bench.reference_file, bench.spec, text, tokens=self.tokens, cache=self.cache, threads=1
        )
        errors = measure_errors(
            bench.checkpoint, bench.spec, bench.tables, found, threads=1, cache=self.cache
        )
        judge = NoiseSensitivity(bench.spec, bench.tables, found, errors)
        row: Row = {}
        for bits in BITS_PER_WEIGHT:
            budget = Budget(WINDOW, target_bpw=bits)
            plan = make_plan(bench.spec, budget, bench.tables, sensitivity=judge)
            predicted = plan.predicted_kl_divergence or 0.0
            row[str(bits)] = {"predicted": predicted, "measured": measure(bench, plan, found)}
        return row | {"calibration": {"tokens": found.tokens}}


def passages(text: str) -> list[str]:
    """Whole paragraphs, joined until they have PASSAGE_CHARACTERS."""
    found = [""]
    for paragraph in text.split("\n\n"):
        if len(found[-1]) >= PASSAGE_CHARACTERS:
            found.append("")
        found[-1] += f"{paragraph}\n\n"
    return found


def woven(text: str, drawn: Sequence[str]) -> str:
    """About as much of each: all passages of the text, and the drawn sequences between them."""
    pieces = passages(text)
    counts = np.linspace(0, len(drawn), len(pieces) + 1).astype(int)
    return "".join(
        piece + "".join(f"{sequence}\n\n" for sequence in drawn[start:end])
        for piece, start, end in zip(pieces, counts, counts[1:], strict=False)
    )


def candidates(gguf: Path, others: Mapping[str, str], seeds: int) -> dict[str, list[str]]:
    """Each kind of text; the drawn one in as many variants as there are seeds."""
    shipped = bundled_calibration_text()
    drawn = [draw_text(gguf, sequences=SEQUENCES, seed=seed, threads=1) for seed in range(seeds)]
    return {
        "shipped": [shipped],
        "drawn": drawn,
        "both": [woven(shipped, passages(drawn[0]))],
        **{name: [text] for name, text in others.items()},
    }


def summary(rows: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, float]]:
    """Measured divergence over that of the shipped text in each budget's mean: by name of text.

    The geometric mean over budgets, and the standard deviation of its logarithm between variants.
    """
    logs = {
        name: np.log([[row[str(b)]["measured"] for b in BITS_PER_WEIGHT] for row in variants])
        for name, variants in rows.items()
    }
    base = logs["shipped"].mean(axis=0)
    ratios = {name: (found - base).mean(axis=1) for name, found in logs.items()}
    return {
        name: {
            "over_shipped": float(np.exp(found.mean())),
            "deviation": float(found.std(ddof=1)) if len(found) > 1 else 0.0,
        }
        for name, found in ratios.items()
    }


def named_text(word: str) -> tuple[str, str]:
    name, _, path = word.partition("=")
    return name, Path(path).read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evaluation", type=Path, nargs="+")
    parser.add_argument("--text", type=named_text, action="append", default=[], help="NAME=FILE")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tokens", type=int, nargs="+", default=[32768])
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    evaluation = "".join(path.read_text(encoding="utf-8") for path in options.evaluation)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options.checkpoint, evaluation, options.windows, Path(scratch))
        texts = candidates(bench.reference_file, dict(options.text), options.seeds)
        for tokens in options.tokens:
            trials = Trials(bench, tokens, f"{options.windows} {evaluation}", options.cache)
            rows: dict[str, list[Row]] = {}
            for name, variants in texts.items():
                rows[name] = [trials.outcome(text) for text in variants]
                print(tokens, name, rows[name], flush=True)
            figures[str(tokens)] = {"summary": summary(rows), "variants": rows}
            print(summary(rows), flush=True)
    write_result("calibration_texts", {"model": bench.spec.name} | figures)


if __name__ == "__main__":
    main()
