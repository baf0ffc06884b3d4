"""KL divergence of every pair of KV cache formats, and how well the costs of K and V add up.

    python -m benchmarks.quality.caches TEXT... --cache FOLDER --record

Each text at each context is measured by itself. At the first context every offered pair is, so that
what measure_caches leaves out by default can be compared with what it measures; at the others the
default is. FOLDER keeps every figure, so that an
interrupted benchmark goes on.
"""

import argparse
import tempfile
from collections.abc import Mapping
from math import inf
from pathlib import Path
from statistics import geometric_mean, median

from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.calibration.caches import (
    CLEARLY,
    CacheDivergence,
    Pair,
    contenders,
    measure_caches,
)
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.sensitivity.caches import FULL

Nats = Mapping[tuple[str, str], float]


def named(pair: Pair) -> tuple[str, str]:
    return pair[0].name, pair[1].name


def bits(pair: Pair) -> float:
    return pair[0].bits_per_element + pair[1].bits_per_element


def additivity(pairs: list[Pair], nats: Nats) -> dict[str, object]:
    """Measured divergence over that of K alone plus V alone, where both are quantized."""
    ratios = {
        "/".join(named(pair)): nats[named(pair)] / (nats[key, FULL] + nats[FULL, value])
        for pair in pairs
        for key, value in [named(pair)]
        if FULL not in (key, value) and (key, value) in nats
    }
    low, high = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    return {
        "least": {low: ratios[low]},
        "median": median(ratios.values()),
        "greatest": {high: ratios[high]},
        "off_by_more_than_a_tenth": sorted(n for n, r in ratios.items() if abs(r - 1) > 0.1),
    }


def pruning(pairs: list[Pair], nats: Nats) -> dict[str, object]:
    """What the default leaves out, and which of those no measured pair beats after all."""
    kept = contenders(pairs, nats, CLEARLY)
    best = [
        pair
        for pair in pairs
        if not any(bits(o) <= bits(pair) and nats[named(o)] < nats[named(pair)] for o in pairs)
    ]
    missed = ["/".join(named(pair)) for pair in best if pair not in kept]
    return {
        "offered": len(pairs),
        "measured_by_default": len(kept),
        "unbeaten": ["/".join(named(pair)) for pair in best],
        "unbeaten_but_left_out": missed,
    }


def row(pairs: list[Pair], found: CacheDivergence) -> dict[str, object]:
    return {
        "context": found.tokens,
        "positions": found.positions,
        "passes": len(found.nats),  # f16 against itself is the reference
        "kl_divergence": {"/".join(names): nats for names, nats in found.nats.items()},
        "measured_over_sum_of_alone": additivity(pairs, found.nats),
        "pruning": pruning(pairs, found.nats)
        if set(map(named, pairs)) <= set(found.nats)
        else None,
    }


def growth(rows: list[CacheDivergence], short: int, long: int) -> dict[str, float]:
    """Divergence in the long context over that in the short one, all texts' geometric mean."""
    ratios: dict[str, float] = {}
    if short == long:
        return ratios
    for names in sorted(set.intersection(*(set(found.nats) for found in rows))):
        of = {
            context: [found.nats[names] for found in rows if found.tokens == context]
            for context in (short, long)
        }
        if all(of[short]) and all(of[long]):
            ratios["/".join(names)] = geometric_mean(of[long]) / geometric_mean(of[short])
    return ratios


def measure(
    folder: Path, texts: list[Path], contexts: list[int], threads: int, cache: Path | None
) -> dict[str, object]:
    checkpoint, tables = open_checkpoint(folder), load_tables()
    spec = read_spec(checkpoint)
    pairs = tables.pairs_for_heads(spec.head_dim)
    table: dict[str, object] = {}
    every: list[CacheDivergence] = []
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "f16"
        plan = uniform_plan(spec, "f16", Budget(contexts[0]), tables)
        gguf = convert(checkpoint, spec, plan, out, tables=tables).gguf
        for path in texts:
            for context in contexts:
                found = measure_caches(
                    gguf,
                    spec,
                    tables,
                    path.read_text(encoding="utf-8"),
                    context=context,
                    clearly=inf if context == contexts[0] else CLEARLY,
                    cache=cache,
                    threads=threads,
                )
                every.append(found)
                table[f"{path.name} at {context}"] = row(pairs, found)
                print(path.name, context, flush=True)
    return {
        "model": spec.name,
        "threads": threads,
        "clearly": CLEARLY,
        "measurements": table,
        "long_over_short_context": growth(every, min(contexts), max(contexts)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--contexts", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="folder that keeps what was measured")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/")
    options = parser.parse_args()
    figures = measure(
        options.checkpoint, options.texts, options.contexts, options.threads, options.cache
    )
    print(figures)
    if options.record:
        write_result("caches", figures)


if __name__ == "__main__":
    main()
