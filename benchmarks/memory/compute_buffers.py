"""Compares the compute-buffer formula with llama.cpp's own plan of its buffers on random shapes.

python -m benchmarks.memory.compute_buffers [--shapes N]
"""

import argparse
import random
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.memory.dry_run import dry_run, write_hollow_gguf
from benchmarks.report import write_result
from edgellm.formats import Tables
from edgellm.memory import F32_BYTES, RunSettings, buffer_bytes
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.spec import ModelSpec
from tests.support.specs import make_spec


def random_spec(rng: random.Random) -> ModelSpec:
    """A decoder with the proportions that models have, from tiny to the width of a 70B."""
    head_dim = rng.choice([16, 32, 64, 64, 80, 96, 128, 128, 256])
    kv_heads = rng.choice([1, 2, 3, 4, 8, 16])
    heads = kv_heads * rng.choice([1, 2, 3, 4, 7, 8])
    query = heads * head_dim
    family = rng.choice(["llama", "llama", "qwen2", "qwen3"])
    stretch = 1.0 if family == "qwen2" else rng.choice([0.5, 0.75, 1, 1, 1, 1.25, 1.5, 2])
    hidden = min(max(64, int(query * stretch) // 64 * 64), 8192) if stretch != 1.0 else query
    return make_spec(
        layers=rng.choice([2, 3, 6]),
        hidden=hidden,
        ffn=max(64, int(hidden * rng.uniform(2, 5.4)) // 64 * 64),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=rng.choice([500, 4096, 32000, 151936]),
        tied=rng.random() < 0.5,
        qkv_bias=family == "qwen2",
        qk_norm=family == "qwen3",
    )


def random_run(rng: random.Random, spec: ModelSpec, tables: Tables) -> RunSettings:
    key, value = rng.choice(tables.pairs_for_heads(spec.head_dim))
    context = rng.choice([256, 1000, 2048, 8192, 32768, 131072])
    ubatch = rng.choice([512, 512, 256, 128, 64, 32])
    return RunSettings(key, value, context, ubatch, logits_rows=rng.choice([1, 1, 16]))


def ratios(shapes: int, seed: int, scratch: Path) -> list[float]:
    """Formula over engine, of the buffers that the engine plans before it runs."""
    rng, tables = random.Random(seed), load_tables()
    path, found = scratch / "hollow.gguf", []
    for _ in range(shapes):
        spec = random_spec(rng)
        run = random_run(rng, spec, tables)
        write_hollow_gguf(path, spec, uniform_plan(spec, "f16", Budget(256), tables), tables)
        predicted = buffer_bytes(spec, run, tables.engines["llama.cpp"])
        # Room for more rows to hand over is made when the first batch that wants them comes.
        later_bytes = F32_BYTES * (run.logits_rows - 1) * spec.vocab_size
        found.append(predicted / (dry_run(path, run).compute_bytes + later_bytes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = ratios(options.shapes, options.seed, Path(scratch))
    points = (0, 1, 5, 50, 90, 95, 99, 100)
    figures = {f"p{point}": float(np.percentile(found, point)) for point in points}
    figures["under_share"] = sum(ratio < 1 for ratio in found) / len(found)
    print(figures)
    write_result("compute_buffers", {"shapes": options.shapes, "predicted_over": figures})


if __name__ == "__main__":
    main()
