"""Compares predicted with measured decode speed: `python -m benchmarks.decode_speed [--threads N]`.

Models of several sizes and plans, of random weights, decoding with the context half full. The
figures are those of undisturbed moments: the lowest decile of the samples. Tokens on one thread
are timed by that thread's own clock, which stands still while other programs have the processor;
on more threads by the wall clock, so that those figures need a quiet machine.
"""

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, thread_time

import numpy as np

from benchmarks.memory.dry_run import write_hollow_gguf
from benchmarks.report import write_result
from edgellm.converters.gguf.ggml import load_ggml
from edgellm.formats import Tables
from edgellm.gguf_file import read_gguf
from edgellm.plan import KVPlan, Plan
from edgellm.quant_tables import load_tables
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import load_library
from edgellm.runtimes.llama_cpp.loading import load_weights, make_context
from edgellm.runtimes.llama_cpp.preconditions import KVFormats
from edgellm.runtimes.llama_cpp.speed import measure_decode_speed
from edgellm.runtimes.llama_cpp.timing import Measured
from edgellm.runtimes.protocol import ignore_events
from edgellm.spec import ModelSpec, Role
from edgellm.speed import CONTEXT_FILL
from tests.support.plans import fixed_plan
from tests.support.specs import make_spec

CONTEXT, UBATCH, TOKENS = 512, 64, 32
_ROWS = 16  # rounded in earnest; formats with a codebook take long
_ATTENTION = (Role.ATTN_Q, Role.ATTN_K, Role.ATTN_V, Role.ATTN_OUTPUT)
_MIXED = {**dict.fromkeys(_ATTENTION, "q6_K"), Role.FFN_DOWN: "q5_K", Role.FFN_GATE: "iq3_xxs"}
PLANS: dict[str, tuple[str, dict[Role, str]]] = {
    **{name: (name, {}) for name in ("q4_K", "q2_K", "q3_K", "iq3_xxs", "q8_0")},
    "q4_K with q6_K, q5_K, iq3_xxs": ("q4_K", _MIXED),
}
SPECS = {
    "small": make_spec(layers=8, hidden=512, ffn=1536, heads=8, kv_heads=2, vocab=8192),
    "middle": make_spec(layers=12, hidden=1024, ffn=2816, heads=16, kv_heads=4, vocab=16384),
    "large": make_spec(
        layers=8, hidden=1536, ffn=4096, heads=12, kv_heads=4, head_dim=128, vocab=16384
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One model in one plan, with one pair of cache formats."""

    size: str
    plan_name: str
    kv: tuple[str, str]

    @property
    def spec(self) -> ModelSpec:
        return SPECS[self.size]

    def plan(self, tables: Tables) -> Plan:
        name, by_role = PLANS[self.plan_name]
        found = fixed_plan(self.spec, tables, name, by_role)
        return replace(found, kv=KVPlan(*self.kv, 8.5, CONTEXT))


def cases(size: str) -> list[Case]:
    uniform = [Case(size, plan_name, ("q8_0", "q8_0")) for plan_name in PLANS]
    return [*uniform, Case(size, "q4_K", ("q8_0", "q4_0")), Case(size, "q4_K", ("f16", "f16"))]


def measured_seconds(case: Case, plan: Plan, threads: int, tables: Tables) -> Measured:
    """Seconds of a token in llama.cpp with the context CONTEXT_FILL full."""
    with ExitStack() as undo:
        path = Path(undo.enter_context(tempfile.TemporaryDirectory())) / "model.gguf"
        write_hollow_gguf(path, case.spec, plan, tables)
        fill_weights(path)
        context = _open(path, case, threads, tables, undo)
        filled = int(CONTEXT_FILL * CONTEXT) - TOKENS // 2
        for start in range(0, filled, UBATCH):
            context.decode([0] * min(UBATCH, filled - start))
        clock, samples = thread_time if threads == 1 else perf_counter, []
        for _ in range(TOKENS):
            started = clock()
            context.decode_one(0)
            samples.append(clock() - started)
    return Measured.of(samples)


def fill_weights(path: Path) -> None:
    """Write rounded Gaussian weights where the file has a hole; a few rows, again and again."""
    rng = np.random.default_rng(0)
    file = read_gguf(path)
    with path.open("r+b") as out:
        for tensor in file.tensors:
            columns = tensor.shape[-1]
            if len(tensor.shape) == 1:
                content = np.ones(columns, dtype=np.float32).view(np.uint8)
            else:
                rows = rng.standard_normal((_ROWS, columns), dtype=np.float32) / columns**0.5
                statistics_of_inputs = np.ones(columns, dtype=np.float32)
                blocks = load_ggml().quantize(rows, tensor.ggml_type, statistics_of_inputs)
                content = np.resize(blocks, tensor.bytes)
            out.seek(file.data_offset + tensor.offset)
            out.write(content.tobytes())


def _open(path: Path, case: Case, threads: int, tables: Tables, undo: ExitStack) -> Context:
    library = load_library()
    model = load_weights(
        library,
        path,
        gpu_layers=0,
        extra_buffers=True,
        adds_space_prefix=True,
        on_event=ignore_events,
        cancel=CancelToken(),
    )
    undo.callback(llama.llama_model_free, model)
    formats = KVFormats(*(tables.kv_formats[name] for name in case.kv))
    context = make_context(
        library, model, formats, context_tokens=CONTEXT, ubatch=UBATCH, threads=threads
    )
    undo.callback(context.close)
    return context


def compare(size: str, threads: int, rounds: int, tables: Tables) -> list[dict[str, object]]:
    """For each plan the best prediction, the best measurement, and their ratio."""
    turns: dict[Case, list[tuple[float, Measured]]] = {case: [] for case in cases(size)}
    for _ in range(rounds):
        speed = measure_decode_speed(SPECS[size], threads)
        for case, found in turns.items():
            plan = case.plan(tables)
            predicted = speed.tokens_per_s(case.spec, plan)
            found.append((predicted, measured_seconds(case, plan, threads, tables)))
    return [_row(case, found, tables) for case, found in turns.items()]


def _row(case: Case, turns: list[tuple[float, Measured]], tables: Tables) -> dict[str, object]:
    weights_bytes = sum(choice.bytes for choice in case.plan(tables).tensors)
    predicted = max(rate for rate, _ in turns)
    measured = max(1 / found.value for _, found in turns)
    row = {
        "parameters": case.spec.parameters,
        "weights_mib": round(weights_bytes / 2**20, 1),
        "plan": case.plan_name,
        "kv": "/".join(case.kv),
        "predicted_tokens_per_s": round(predicted, 1),
        "measured_tokens_per_s": round(measured, 1),
        "predicted_over_measured": round(predicted / measured, 3),
        "measured_spread": round(min(found.spread for _, found in turns), 2),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2, help="turns of prediction and decoding")
    arguments = parser.parse_args()
    tables = load_tables()
    rows = [
        row for size in SPECS for row in compare(size, arguments.threads, arguments.rounds, tables)
    ]
    errors = [abs(float(str(row["predicted_over_measured"])) - 1) for row in rows]
    figures = {
        "threads": arguments.threads,
        "context": CONTEXT,
        "rows": rows,
        "error_median": round(statistics.median(errors), 3),
        "error_max": round(max(errors), 3),
    }
    print(write_result(f"decode_speed_{arguments.threads}", figures))


if __name__ == "__main__":
    main()
