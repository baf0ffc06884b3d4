"""Our speed beside that of a C program around the same llama.cpp:

    python -m benchmarks.runtime.native SCRATCH [--size 0.5B] [--rounds N] [--threads N]

Models of random weights are made in the folder SCRATCH once. The C program, the worker and one of
the two ways to work in this process have the model loaded and take turns, so that whatever else the
machine does meets them alike; a figure is the median of the rounds' ratios, with the quartiles
around it. Each of those two ways gets a process of its own: threads of both would be more than the
processors, and OpenMP then puts them to sleep at every barrier.
Decoding samples greedily on every side. The context is just what is read, so that ours keeps no
earlier sequences: benchmarks.runtime.parked_sequences tells what those cost. --llama-bench PROGRAM
measures the C program against llama-bench.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.report import write_result
from benchmarks.runtime.models import PLANS, SIZES, prepared
from benchmarks.runtime.native_loop import NativeLoop, Settings, build
from edgellm.apps.cli.speed_prompts import PromptWriter
from edgellm.apps.cli.speed_timing import Ask, greedy, greedy_sampling, time_answer
from edgellm.quant_tables import load_tables
from edgellm.runtimes import open_runtime
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import Request

UBATCH, KV = 512, "q8_0"
HERE = ("engine", "thread")  # without a host and a connection; with both, on a thread
PREFILL, DECODE, DEPTH = 256, 64, 16  # tokens; decoding begins behind DEPTH of them


class Side(Protocol):
    """One way to run the model; each turn has other words."""

    def prefill_s(self, turn: int) -> float: ...

    def decode_s(self, turn: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Native:
    """The C program."""

    loop: NativeLoop

    def prefill_s(self, turn: int) -> float:
        return self.loop.seconds("prefill", 0, PREFILL)

    def decode_s(self, turn: int) -> float:
        return self.loop.seconds("decode", DEPTH, DECODE)


@dataclass(frozen=True, slots=True)
class Ours:
    """edgellm, asked in one of its ways."""

    ask: Ask
    writer: PromptWriter

    def prefill_s(self, turn: int) -> float:
        return (
            PREFILL / time_answer(self.ask, self.writer.text(PREFILL, turn), 1).prefill_tokens_per_s
        )

    def decode_s(self, turn: int) -> float:
        times = time_answer(self.ask, self.writer.text(DEPTH, turn), DECODE + 1)
        return DECODE / times.decode_tokens_per_s


@contextmanager
def sides(gguf: Path, threads: int, program: Path, here: str) -> Iterator[dict[str, Side]]:
    """Ways to run the model, loaded; `native` is what the others are compared with.

    here: the one that works in this process, "engine" or "thread".
    """
    with ExitStack() as opened:
        loop = opened.enter_context(NativeLoop(program, gguf, settings_of(threads)))
        ours = engine(gguf, threads) if here == "engine" else api(gguf, threads, "none")
        yield {
            "native": Native(loop),
            here: opened.enter_context(ours),
            "worker": opened.enter_context(api(gguf, threads, "process")),
        }


def settings_of(threads: int) -> Settings:
    return Settings(threads, PREFILL, UBATCH, ggml_type_of(KV), ggml_type_of(KV))


def ggml_type_of(kv_format: str) -> int:
    return load_tables().kv_formats[kv_format].ggml_type


@contextmanager
def engine(gguf: Path, threads: int) -> Iterator[Ours]:
    """The engine itself, without a host or a connection."""
    options = LoadOptions(PREFILL, KV, KV, ubatch=UBATCH, threads=threads)
    with open_runtime("llama.cpp").load(gguf, options) as model:
        yield Ours(
            lambda prompt, tokens: model.generate(Request(prompt, greedy_sampling(tokens))),
            PromptWriter(lambda text: len(model.tokenize(text))),
        )


@contextmanager
def api(gguf: Path, threads: int, isolation: str) -> Iterator[Ours]:
    """What users call, with the engine on a thread or in a process of its own."""
    options = LoadOptions(PREFILL, KV, KV, ubatch=UBATCH, threads=threads)
    with Model(Launch(gguf, options, isolation=isolation).open()) as model:
        yield Ours(
            lambda prompt, tokens: greedy(model, prompt, tokens), PromptWriter(model.count_tokens)
        )


def turns(found: dict[str, Side], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Tokens per second by what was done and by side; a round to warm up does not count."""
    rates: dict[str, dict[str, list[float]]] = {
        "prefill": {name: [] for name in found},
        "decode": {name: [] for name in found},
    }
    order = list(found)
    for turn in range(1 + rounds):
        order.append(order.pop(0))  # nobody always runs behind the same one
        for name in order:
            rates["prefill"][name].append(PREFILL / found[name].prefill_s(turn))
        for name in order:
            rates["decode"][name].append(DECODE / found[name].decode_s(turn))
    return {work: {name: each[1:] for name, each in by.items()} for work, by in rates.items()}


def compared(rates: dict[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    """Each side's share of the speed of `base`, round by round: median and quartiles."""
    return {
        name: quartiles([one / of for one, of in zip(each, rates[base], strict=True)])
        for name, each in rates.items()
        if name != base
    }


def against_llama_bench(program: Path, bench: Path, gguf: Path, threads: int) -> dict[str, float]:
    """The C program's share of llama-bench's speed, which samples nothing."""
    tests = ["-p", str(PREFILL), "-n", str(DECODE), "-r", "5", "-t", str(threads), "-o", "json"]
    cache = ["-fa", "1", "-ctk", KV, "-ctv", KV]
    shown = subprocess.check_output([bench, "-m", gguf, *tests, *cache], text=True)
    theirs = {test["n_prompt"]: statistics.median(test["samples_ts"]) for test in json.loads(shown)}
    with NativeLoop(program, gguf, settings_of(threads)) as loop:
        read = [PREFILL / loop.seconds("prefill", 0, PREFILL) for _ in range(6)][1:]
        written = [DECODE / loop.seconds("forward", 0, DECODE) for _ in range(6)][1:]
    return {
        "prefill": round(statistics.median(read) / theirs[PREFILL], 3),
        "forward": round(statistics.median(written) / theirs[0], 3),
    }


def quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def row(
    size: str, plan_name: str, here: str, rates: dict[str, dict[str, list[float]]]
) -> dict[str, Any]:
    """The figures of one model, with one way to work in this process."""
    found: dict[str, Any] = {"size": size, "plan": plan_name, "here": here}
    for work, by_side in rates.items():
        found[work] = {
            "tokens_per_s": {name: round(statistics.median(x), 2) for name, x in by_side.items()},
            "over_native": compared(by_side, "native"),
            "worker_over_here": compared({name: by_side[name] for name in (here, "worker")}, here)[
                "worker"
            ],
        }
    return found


def measured(
    arguments: argparse.Namespace, size: str, plan_name: str, program: Path
) -> dict[str, Any]:
    gguf = prepared(arguments.scratch, size, plan_name)
    with sides(gguf, arguments.threads, program, arguments.here) as found:
        return row(size, plan_name, arguments.here, turns(found, arguments.rounds))


def measured_apart(
    arguments: argparse.Namespace, size: str, plan_name: str, here: str
) -> dict[str, Any]:
    """`measured` in a process of its own."""
    words = ["--size", size, "--plan", plan_name, "--here", here]
    counts = ["--rounds", str(arguments.rounds), "--threads", str(arguments.threads)]
    module = [sys.executable, "-m", "benchmarks.runtime.native", str(arguments.scratch)]
    shown = subprocess.run([*module, *words, *counts], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def show(found: dict[str, Any]) -> None:
    print(f"{found['size']} {found['plan']}")
    for work in ("prefill", "decode"):
        figures = found[work]
        for name, rate in figures["tokens_per_s"].items():
            ratio = figures["over_native"].get(name)
            beside = (
                "" if ratio is None else "{median:8.3f} ({low:.3f} to {high:.3f})".format(**ratio)
            )
            print(f"  {work:8}{name:8}{rate:9.2f} tokens/s{beside}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path, help="folder for the models; 5 GB")
    parser.add_argument("--size", action="append", choices=[*SIZES])
    parser.add_argument("--plan", action="append", choices=PLANS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", choices=HERE, help="print this way's figures as JSON, no more")
    parser.add_argument("--llama-bench", type=Path, help="its program, of the same llama.cpp")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    program, rows = build(arguments.scratch), []
    if arguments.here is not None:
        (size,), (plan_name,) = arguments.size, arguments.plan
        print(json.dumps(measured(arguments, size, plan_name, program)))
        return
    for size in arguments.size or SIZES:
        for plan_name in arguments.plan or PLANS:
            gguf = prepared(arguments.scratch, size, plan_name)
            for here in HERE:
                rows.append(measured_apart(arguments, size, plan_name, here))
                show(rows[-1])
            if (bench := arguments.llama_bench) is not None:
                check = against_llama_bench(program, bench, gguf, arguments.threads)
                rows[-1]["native_over_llama_bench"] = check
                print(f"  native over llama-bench: {check}", flush=True)
    figures = {
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "prefill_tokens": PREFILL,
        "decode_tokens": DECODE,
        "decode_depth": DEPTH,
        "context": PREFILL,
        "ubatch": UBATCH,
        "kv": KV,
        "rows": rows,
    }
    print(write_result("native", figures))


if __name__ == "__main__":
    main()
