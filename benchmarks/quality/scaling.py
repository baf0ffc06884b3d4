"""What calibration, planning and rounding take as models grow, on one thread (Linux).

    python -m benchmarks.quality.scaling [--model NAME ...] [--checkpoints FOLDER]

Each step runs in a process of its own: CPU and wall seconds of the part that was done, and the
process's peak memory, anonymous and mapped bytes apart. Larger models are made up with random
weights and do a stated part of each step; the whole is the part times what the code counts
("..._of_the_whole"). A law for each step is fitted to the CPU seconds and states what a model of 8
billion weights takes. --model and --step measure some only and keep the others' figures.
--checkpoints: folder that keeps the made-up checkpoints, 4 GB; else they are deleted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.optimize import nnls

from benchmarks.memory.checkpoints import Shape, write_shape
from benchmarks.quality.scaling_steps import STEPS, THREADS, Parts
from benchmarks.report import RESULTS, ROOT, write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.calibration.calibrate import (
    DEFAULT_TOKENS,
    MAX_WINDOWS,
    MIN_WINDOWS,
    WINDOW_TOKENS,
)
from edgellm.converters.rounding.sample import sampled_rows
from edgellm.families import read_spec
from edgellm.spec import ModelSpec
from tests.support.specs import make_spec

Figures = dict[str, Any]
SHAPES: Mapping[str, Shape | None] = MappingProxyType(
    {
        "7M": None,  # the bundled model
        "0.5B": Shape("qwen2", 24, 896, 4864, 14, 2, 64, 151936, True, True, False),
        "1.5B": Shape("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, True, True, False),
    }
)
PARTS: Mapping[str, Parts] = MappingProxyType(
    {
        "7M": Parts(None, None, 2048, 16, 1, 16),
        "0.5B": Parts(1, 3, 256, 4, 64, 1),
        "1.5B": Parts(1, 2, 256, 4, 256, 1),
    }
)
EIGHT_BILLION = make_spec(
    layers=32,
    hidden=4096,
    ffn=14336,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab=128256,
    tied=False,
)


def measure_model(name: str, folder: Path, chosen: Collection[str]) -> Figures:
    """The chosen steps of one model; folder: where its checkpoint is, or will be."""
    shape, parts = SHAPES[name], PARTS[name]
    checkpoint = bundled_checkpoint() if shape is None else folder / name
    if shape is not None and not checkpoint.exists():
        write_shape(checkpoint, shape)
    steps = {}
    with tempfile.TemporaryDirectory(prefix="edgellm-scaling-") as scratch:
        for step in ("reference", *(step for step in STEPS if step in chosen)):
            steps[step] = run_step(step, checkpoint, Path(scratch) / "reference", parts)
            print(name, step, steps[step], flush=True)
    spec = read_spec(open_checkpoint(checkpoint))
    return {"facts": facts(spec), "part": asdict(parts), "steps": steps}


def run_step(step: str, checkpoint: Path, reference: Path, parts: Parts) -> Figures:
    module = [sys.executable, "-m", "benchmarks.quality.scaling_steps"]
    arguments = [step, str(checkpoint), str(reference), json.dumps(asdict(parts))]
    done = subprocess.run([*module, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: Figures = json.loads(done.stdout)
    return found


def facts(spec: ModelSpec) -> Figures:
    """What the laws count; products: weights that every token is multiplied with."""
    matrices = [tensor for tensor in spec.tensors if tensor.is_matrix]
    lookup = 0 if spec.tied_embeddings else spec.vocab_size * spec.hidden_size
    inner = [t.shape for t in matrices if t.shape[0] != spec.vocab_size]
    return {
        "parameters": spec.parameters,
        "products": sum(tensor.elements for tensor in matrices) - lookup,
        "vocabulary": spec.vocab_size,
        "matrices": len(matrices),
        "sampled_weights": sum(sampled_rows(t) * t.shape[1] for t in matrices),
        "widest_matrix": max(map(prod, inner)),
    }


# By step: what its figures count, and the facts that one of those costs in proportion to.
LAWS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "reference": ("", ("parameters",)),
        "hash": ("", ("parameters",)),
        "observe": ("windows", ("products", "vocabulary")),
        "disturb": ("trials", ("products", "vocabulary")),
        "caches": ("tokens", ("products", "vocabulary")),
        "errors": ("weights", ()),
        "rounding": ("weights", ()),
        "trial": ("passes", ("products", "vocabulary")),
    }
)


def fitted(step: str, models: Mapping[str, Figures]) -> Figures:
    """CPU seconds of one unit of a step: the sum of coefficients times facts, none negative."""
    unit, names = LAWS[step]
    rows, seconds = [], []
    for model in models.values():
        found = model["steps"][step]
        rows.append([float(model["facts"][name]) for name in names] or [1.0])
        seconds.append(found["cpu_s"] / (found[unit] if unit else 1))
    matrix, target = np.array(rows), np.array(seconds)
    relative = matrix / target[:, None]
    scale = relative.max(axis=0)
    coefficients = nnls(relative / scale, np.ones(len(target)))[0] / scale
    return {
        "unit": unit or "model",
        "cpu_s_per": dict(zip(names or ("unit",), coefficients.tolist(), strict=True)),
        "largest_error": float(np.abs(relative @ coefficients - 1).max()),
    }


def whole(steps: Mapping[str, Figures]) -> Figures:
    """CPU seconds of each step done whole, where most trials and cache pairs are needed and not."""
    result = {}
    for step, found in steps.items():
        unit = LAWS[step][0] if step in LAWS else ""
        exact = found.get(f"{unit}_of_the_whole", 1)
        least = found.get(f"least_{unit}_of_the_whole", exact)
        most = found.get(f"most_{unit}_of_the_whole", exact)
        once, each = found.get("tables_cpu_s", 0.0), found["cpu_s"] / found.get(unit, 1)
        result[step] = {
            "least_cpu_s": round(once + least * each, 1),
            "most_cpu_s": round(once + most * each, 1),
        }
    return result


def forecast(laws: Mapping[str, Figures], spec: ModelSpec, like: Figures) -> Figures:
    """CPU seconds of every step for a model that was not measured, of few and of many trials.

    like: the figures of a model with as many cache pairs.
    """
    known = {**facts(spec), "unit": 1}
    passes = known["matrices"]  # sites but the head, and one undisturbed run
    caches = like["steps"]["caches"]
    whole = {
        "reference": (1, 1),
        "hash": (1, 1),
        "observe": (DEFAULT_TOKENS // WINDOW_TOKENS,) * 2,
        "disturb": (passes * MIN_WINDOWS, passes * MAX_WINDOWS),
        "caches": (caches["least_tokens_of_the_whole"], caches["most_tokens_of_the_whole"]),
        "errors": (known["sampled_weights"],) * 2,
        "rounding": (known["parameters"],) * 2,
        "trial": (like["steps"]["trial"]["passes_of_the_whole"],) * 2,
    }
    result = {}
    for step, (least, most) in whole.items():
        each = sum(each * known[name] for name, each in laws[step]["cpu_s_per"].items())
        once = like["steps"][step].get("tables_cpu_s", 0.0)
        result[step] = {
            "least_cpu_s": round(once + least * each),
            "most_cpu_s": round(once + most * each),
        }
    return result


def memory_bound(known: Mapping[str, int]) -> int:
    """Anonymous bytes of calibration as its docstring bounds them, without the interpreter's."""
    return int(4.5 * 1024 * known["vocabulary"]) + 4 * known["widest_matrix"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=list(SHAPES))
    others = [step for step in STEPS if step != "reference"]  # they run the file it writes
    parser.add_argument("--step", action="append", choices=others)
    parser.add_argument("--checkpoints", type=Path)
    arguments = parser.parse_args()
    path = RESULTS / "scaling.json"
    kept = json.loads(path.read_text())["figures"]["models"] if path.exists() else {}
    folder = arguments.checkpoints or Path(tempfile.mkdtemp(prefix="edgellm-checkpoints-"))
    for name in arguments.model or SHAPES:
        found = measure_model(name, folder, arguments.step or others)
        found["steps"] = kept.get(name, {}).get("steps", {}) | found["steps"]
        kept[name] = found
        write_result("scaling", summary({name: kept[name] for name in SHAPES if name in kept}))
    if arguments.checkpoints is None:
        shutil.rmtree(folder)


def summary(models: Mapping[str, Figures]) -> Figures:
    laws = {step: fitted(step, models) for step in LAWS}
    largest = list(models.values())[-1]
    return {
        "threads": THREADS,
        "models": models,
        "whole": {name: whole(model["steps"]) for name, model in models.items()},
        "laws": laws,
        "8B": {
            "facts": facts(EIGHT_BILLION),
            "steps": forecast(laws, EIGHT_BILLION, largest),
            "calibration_bound_bytes": memory_bound(facts(EIGHT_BILLION)),
            "reference_bytes": 2 * EIGHT_BILLION.parameters,
        },
        "calibration_bound_bytes": {n: memory_bound(m["facts"]) for n, m in models.items()},
    }


if __name__ == "__main__":
    main()
