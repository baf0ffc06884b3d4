"""Predicted memory, part by part, beside what runs that fill their contexts take (Linux).

    python -m benchmarks.memory.peak [--case NAME ...] [--tokens-of-large N]

Each checkpoint is made up, planned for a budget, converted, and run by `edgellm run` at its context
and at shorter ones. Most hold zeros, which convert quickly and take the same memory as any weights.
Takes 2 GB of disk. --case runs some of them; what was recorded of others on the same commit stays,
so that they can be run one by one. The engine fills the cache with zeros when it makes it, so a
prompt of two ubatches takes all but a few MiB of what a full context does; the case "qwen2 90M" is
run both ways, and --tokens-of-large makes the prompts of models of a billion weights so short,
where the machine is busy. "tokens_run" tells.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.memory.checkpoints import Shape, write_shape
from benchmarks.memory.watched_run import watched_run
from benchmarks.report import RESULTS, commit, write_result
from edgellm.artifact import Artifact
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.formats import Tables
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, settle_plan
from edgellm.quant_tables import load_tables
from edgellm.spec import ModelSpec

_MIB = 2**20
_LARGE = 10**9  # weights


@dataclass(frozen=True, slots=True)
class Case:
    """One checkpoint and what it is planned for."""

    name: str
    shape: Shape | None  # None is the bundled model
    budget_mib: int
    cache: tuple[str, str]  # formats of K and V
    contexts: tuple[int, ...]  # the first is planned for, the others are run as well
    short_tokens: int | None = None  # run the first once more, with so many tokens alone

    def tables(self) -> Tables:
        """The package's, with this pair of cache formats alone."""
        return replace(load_tables(), kv_pairs=(self.cache,))


# family, layers, hidden, ffn, heads, kv_heads, head_dim, vocab, tied, byte_level, zero
CASES = (
    Case("bundled 7M", None, 64, ("q8_0", "q8_0"), (1024, 256)),
    Case(
        "qwen2 90M",
        Shape("qwen2", 4, 512, 1408, 8, 2, 64, 151936, True, True, False),
        200,
        ("f16", "f16"),
        (16384, 2048),
        1024,
    ),
    Case(
        "llama 200M",
        Shape("llama", 12, 1024, 2816, 16, 4, 64, 32000, False, False, True),
        190,
        ("q8_0", "q4_0"),
        (4096, 2048),
    ),
    Case(
        "qwen3 231M",
        Shape("qwen3", 6, 1024, 3072, 8, 4, 128, 151936, True, True, True),
        300,
        ("q4_0", "q4_0"),
        (8192, 2048),
    ),
    Case(
        "llama 1.1B",
        Shape("llama", 22, 2048, 5632, 32, 4, 64, 32000, False, False, True),
        672,
        ("q8_0", "q8_0"),
        (2048,),
    ),
    Case(
        "qwen2 1.5B",
        Shape("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, True, True, True),
        1024,
        ("q8_0", "q8_0"),
        (2048,),
    ),
)


def measure(case: Case, scratch: Path, tokens_of_large: int | None) -> Iterator[dict[str, Any]]:
    """One row for each run."""
    folder = bundled_checkpoint()
    if case.shape is not None:
        folder = scratch / "checkpoint"
        write_shape(folder, case.shape)
    checkpoint, tables = open_checkpoint(folder), case.tables()
    spec = read_spec(checkpoint)
    budget = Budget(case.contexts[0], memory_bytes=case.budget_mib * _MIB)
    plan = make_plan(spec, budget, tables)
    artifact = convert(checkpoint, spec, plan, scratch / "artifact", tables=tables)
    if case.shape is not None:
        shutil.rmtree(folder)
    tokens = tokens_of_large if spec.parameters >= _LARGE else None
    for context in case.contexts:
        yield run(case, spec, artifact, context, tokens or context)
    if case.short_tokens is not None:
        yield run(case, spec, artifact, case.contexts[0], case.short_tokens)
    shutil.rmtree(artifact.folder)


def run(
    case: Case, spec: ModelSpec, artifact: Artifact, context: int, tokens: int
) -> dict[str, Any]:
    """Predicted and measured parts of one run, and whether it stayed inside the budget."""
    plan = at_context(spec, artifact.plan, context)
    found = watched_run(artifact.folder, context, tokens)
    assert found.tokens > 0.96 * tokens, found
    predicted_bytes = plan.memory.total_bytes
    return {
        "case": case.name,
        "parameters": spec.parameters,
        "context": context,
        "cache": list(case.cache),
        "ubatch": plan.ubatch,
        "formats": dict(Counter(tensor.format for tensor in plan.tensors)),
        "zero_weights": case.shape is not None and case.shape.zero,
        "tokens_run": found.tokens,
        "predicted": plan.memory.to_json(),
        "measured": found.to_json(),
        "measured_over_predicted": found.peak_bytes / predicted_bytes,
        "budget_bytes": plan.budget_bytes,
        "left_of_budget_bytes": plan.budget_bytes - found.peak_bytes,
    }


def at_context(spec: ModelSpec, plan: Plan, context: int) -> Plan:
    """The same plan, sized for a shorter context."""
    return settle_plan(
        spec, replace(plan, kv=replace(plan.kv, context=context)), load_tables(), "the plan"
    )


def show(row: dict[str, Any]) -> None:
    tokens = f"{row['tokens_run']} of {row['context']} tokens"
    print(f"{row['case']}, {tokens}, {row['formats']}, {row['cache']}")
    for part, predicted_bytes in row["predicted"].items():
        measured_bytes = row["measured"][part]
        print(f"  {part:16}{predicted_bytes / _MIB:9.2f} MiB{measured_bytes / _MIB:9.2f} measured")
    left_mib = row["left_of_budget_bytes"] / _MIB
    print(f"  measured / predicted {row['measured_over_predicted']:.3f}; {left_mib:.1f} MiB left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--tokens-of-large", type=int)
    options = parser.parse_args()
    for case in CASES:
        if options.case is None or case.name in options.case:
            with tempfile.TemporaryDirectory() as folder:
                rows = []
                for row in measure(case, Path(folder), options.tokens_of_large):
                    show(row)
                    sys.stdout.flush()
                    rows.append(row)
                    write_result("memory_peak", {"runs": in_order([*recorded(case), *rows])})


def recorded(running: Case) -> list[dict[str, Any]]:
    """Rows of the other cases that were measured on this commit."""
    path = RESULTS / "memory_peak.json"
    if not path.exists():
        return []
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document["commit"].removesuffix("-dirty") != commit().removesuffix("-dirty"):
        return []
    return [row for row in document["figures"]["runs"] if row["case"] != running.name]


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = [case.name for case in CASES]
    return sorted(rows, key=lambda row: names.index(row["case"]))


if __name__ == "__main__":
    main()
