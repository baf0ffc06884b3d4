"""One step of calibrating, planning or rounding, in a process of its own (Linux).

As a program: python -m benchmarks.quality.scaling_steps STEP CHECKPOINT REFERENCE PARTS, where
REFERENCE is the folder of the model in f16 and PARTS says how much to do, as JSON. Prints JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgellm.bundled import bundled_calibration_text
from edgellm.checkpoint import open_checkpoint
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.quant_tables import load_tables
from edgellm.spec import TensorSpec

THREADS = 1
BITS_PER_WEIGHT = 4.5  # of the plan that is rounded; rows that no 256 divides take 4 at least
_SAMPLED_S = 0.01
Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """How much of each step is done; None for all."""

    windows: int | None  # observed
    sites: int | None  # disturbed, each on one window
    cache_tokens: int  # of the window that two pairs of caches run
    tensors: int | None  # whose errors are measured
    row_share: int  # every matrix is rounded for one row in so many
    trial_windows: int


class Bench:
    """One checkpoint, and its reference in f16."""

    def __init__(self, checkpoint: Path, reference: Path, parts: Parts) -> None:
        self.checkpoint = open_checkpoint(checkpoint)
        self.spec = read_spec(self.checkpoint)
        self.tables = load_tables()
        self.reference = reference
        self.parts = parts

    @property
    def gguf(self) -> Path:
        return self.reference / "model.gguf"

    @property
    def matrices(self) -> list[TensorSpec]:
        return [tensor for tensor in self.spec.tensors if tensor.is_matrix]

    def spread(self, count: int | None) -> list[TensorSpec]:
        """So many matrices, from the first to the last."""
        every = self.matrices
        picked = np.linspace(0, len(every) - 1, min(count or len(every), len(every)))
        return [every[index] for index in picked.round().astype(int)]


def reference(bench: Bench) -> Found:
    """The whole checkpoint as an f16 file; calibration runs that."""
    from edgellm.converters.gguf.convert import convert
    from edgellm.planner import uniform_plan

    plan = uniform_plan(bench.spec, "f16", Budget(512), bench.tables)
    with measured() as found:
        convert(
            *(bench.checkpoint, bench.spec, plan, bench.reference),
            tables=bench.tables,
            threads=THREADS,
        )
    return found | {"parameters": bench.spec.parameters}


def hashing(bench: Bench) -> Found:
    """The name under which a calibration is cached: the f16 file is read whole."""
    from edgellm.converters.calibration.keys import content_key
    from edgellm.progress import ignore_progress

    with measured() as found:
        content_key(bench.gguf, bundled_calibration_text(), (), ignore_progress)
    return found | {"bytes": bench.gguf.stat().st_size}


def observe(bench: Bench) -> Found:
    """Windows run with every matrix's inputs squared, and the head's gains from the logits."""
    from edgellm.converters.calibration.calibrate import WINDOW_TOKENS, text_windows
    from edgellm.converters.calibration.engine import Engine
    from edgellm.converters.calibration.moments import InputSquares
    from edgellm.converters.calibration.noise import logit_gains
    from edgellm.converters.calibration.sites import find_sites

    sites = find_sites(bench.gguf, bench.spec)
    columns = {site.weight: site.columns for site in sites if not site.is_lookup}
    with Engine(bench.gguf, WINDOW_TOKENS, THREADS) as engine:
        windows = text_windows(engine, bundled_calibration_text(), 32_768)
        engine.run(windows[0][:1], None)  # maps the weights
        some = windows[: bench.parts.windows]
        with measured() as found:
            for window in some:
                watcher = InputSquares(columns)
                logit_gains(engine.run(window, watcher))
                watcher.checked()
    return found | {"windows": len(some), "windows_of_the_whole": len(windows)}


def disturb(bench: Bench) -> Found:
    """Noise at each site alone, and the divergence that follows.

    Of the whole, a site takes from MIN_WINDOWS to MAX_WINDOWS, and each window an undisturbed run.
    """
    from edgellm.converters.calibration.calibrate import (
        MAX_WINDOWS,
        MIN_WINDOWS,
        WINDOW_TOKENS,
        text_windows,
    )
    from edgellm.converters.calibration.engine import Engine
    from edgellm.converters.calibration.noise import OutputNoise, Reference
    from edgellm.converters.calibration.rows import RowLengths
    from edgellm.converters.calibration.sites import find_sites

    every = [site for site in find_sites(bench.gguf, bench.spec) if not site.is_head]
    count = min(bench.parts.sites or len(every), len(every))
    sites = [every[i] for i in np.linspace(0, len(every) - 1, count).round().astype(int)]
    lengths = RowLengths(bench.gguf)
    with Engine(bench.gguf, WINDOW_TOKENS, THREADS) as engine:
        windows = text_windows(engine, bundled_calibration_text(), 32_768)
        expected = Reference.of(engine.run(windows[0], None))
        forward_s = 0.0
        with measured() as found:
            for site in sites:
                noise = OutputNoise(site, 0, lengths.of(site.weight))
                began = time.process_time()
                logits = engine.run(windows[0], noise)
                forward_s += time.process_time() - began
                expected.divergence(logits)
    return found | {
        "trials": len(sites),
        "least_trials_of_the_whole": (len(every) + 1) * MIN_WINDOWS,
        "most_trials_of_the_whole": (len(every) + 1) * min(MAX_WINDOWS, len(windows)),
        "forward_and_noise_cpu_s": round(forward_s, 3),
    }


def caches(bench: Bench) -> Found:
    """f16 caches and one other pair over a window, and the divergence between them."""
    from edgellm.converters.calibration.cache_context import CacheContext, Window
    from edgellm.converters.calibration.caches import TEXT_TOKENS, scored_positions
    from edgellm.converters.calibration.engine import Model
    from edgellm.evaluation import Comparison

    formats, tokens = bench.tables.kv_formats, bench.parts.cache_tokens
    with Model(bench.gguf) as model:
        text = model.tokenize(bundled_calibration_text())
        windows = [Window(text[:tokens], scored_positions(tokens, 512))]
        following = [text[position + 1] for position in windows[0].scored]

        def logits(name: str) -> Iterator[Any]:
            pair = formats[name], formats[name]
            with CacheContext(model, pair, windows, THREADS) as context:
                yield from (rows for rows in context.logits(windows[0]) if len(rows))

        with measured() as found:
            expected = [rows.copy() for rows in logits("f16")]
            with closing(logits("q8_0")) as rows:  # type: ignore[type-var]
                Comparison().add_window(expected, rows, following)
    pairs = bench.tables.pairs_for_heads(bench.spec.head_dim)
    alone = len({fmt.name for pair in pairs for fmt in pair} - {"f16"})
    return found | {
        "tokens": 2 * tokens,
        "least_tokens_of_the_whole": (1 + 2 * alone) * TEXT_TOKENS,
        "most_tokens_of_the_whole": (1 + 2 * alone + len(pairs)) * TEXT_TOKENS,
    }


def errors(bench: Bench) -> Found:
    """Each matrix's sample of rows, rounded in every format."""
    from edgellm.converters.rounding.error_table import measure_errors
    from edgellm.converters.rounding.sample import sampled_rows
    from tests.support.calibrations import made_up_calibration

    some = bench.spread(bench.parts.tensors)
    calibration = made_up_calibration(bench.spec)
    names = {tensor.name for tensor in some}
    rest = tuple(t for t in bench.spec.tensors if not t.is_matrix or t.name in names)
    moments = {n: m for n, m in calibration.input_moments.items() if n in names}
    part = replace(bench.spec, tensors=rest)
    tables_s = made_tables(bench)
    with measured() as found:
        measure_errors(
            *(bench.checkpoint, part, bench.tables, replace(calibration, input_moments=moments)),
            threads=THREADS,
        )

    def weights(tensors: list[TensorSpec]) -> int:
        return sum(sampled_rows(tensor) * tensor.shape[1] for tensor in tensors)

    whole = weights(bench.matrices)
    return found | {
        "weights": weights(some),
        "weights_of_the_whole": whole,
        "tables_cpu_s": tables_s,
    }


def made_tables(bench: Bench) -> float:
    """CPU seconds until ggml has made the lattices of its 2- and 3-bit formats, once a process."""
    from edgellm.converters.gguf.ggml import load_ggml
    from edgellm.converters.rounding.rounding import GgmlRounding

    kernels, row = GgmlRounding(load_ggml()), np.ones((1, 256), np.float32)
    began = time.process_time()
    for fmt in bench.tables.weight_formats.values():
        if fmt.plannable:
            kernels.pack(row, fmt, row[0])
    return round(time.process_time() - began, 3)


def planning(bench: Bench) -> Found:
    """One plan, no two tensors alike."""
    from benchmarks.planning import judges
    from edgellm.planner import make_plan

    judge = judges(bench.spec, bench.tables)["unlike"]
    with measured() as found:
        make_plan(
            bench.spec, Budget(512, target_bpw=BITS_PER_WEIGHT), bench.tables, sensitivity=judge
        )
    return found | {"tensors": len(bench.spec.tensors)}


def rounding(bench: Bench) -> Found:
    """The same share of every matrix of a plan becomes blocks, as in a conversion."""
    from benchmarks.planning import judges
    from edgellm.converters.gguf.ggml import load_ggml
    from edgellm.converters.rounding.moments import rounding_moments
    from edgellm.converters.rounding.rounding import GgmlRounding
    from edgellm.planner import make_plan
    from tests.support.calibrations import made_up_calibration

    judge = judges(bench.spec, bench.tables)["unlike"]
    budget = Budget(512, target_bpw=BITS_PER_WEIGHT)
    plan = make_plan(bench.spec, budget, bench.tables, sensitivity=judge)
    formats = {choice.name: bench.tables.weight_formats[choice.format] for choice in plan.tensors}
    moments = rounding_moments(bench.spec, made_up_calibration(bench.spec))
    kernels, weights, tables_s = GgmlRounding(load_ggml()), 0, made_tables(bench)
    with measured() as found:
        for tensor in bench.matrices:
            count = -(-tensor.shape[0] // bench.parts.row_share)
            rows = bench.checkpoint.read_rows(tensor.name, 0, count)
            kernels.pack(rows, formats[tensor.name], moments.get(tensor.name))
            weights += rows.size
    return found | {
        "weights": weights,
        "weights_of_the_whole": sum(tensor.elements for tensor in bench.matrices),
        "tables_cpu_s": tables_s,
    }


def trial(bench: Bench) -> Found:
    """The f16 file beside itself: as many passes as a trial of one candidate takes."""
    from edgellm.converters.calibration.calibrate import WINDOW_TOKENS
    from edgellm.converters.calibration.trial import TRIAL_TOKENS, try_files

    tokens = bench.parts.trial_windows * WINDOW_TOKENS
    text = bundled_calibration_text()
    with measured() as found:
        try_files(bench.gguf, [bench.gguf], text, tokens=tokens, threads=THREADS)
    return found | {
        "passes": 2 * bench.parts.trial_windows,
        "passes_of_the_whole": 3 * TRIAL_TOKENS // WINDOW_TOKENS,
    }


STEPS: MappingProxyType[str, Callable[[Bench], Found]] = MappingProxyType(
    {
        "reference": reference,
        "hash": hashing,
        "observe": observe,
        "disturb": disturb,
        "caches": caches,
        "errors": errors,
        "planning": planning,
        "rounding": rounding,
        "trial": trial,
    }
)


class _Memory(threading.Thread):
    """Looks at this process's anonymous and mapped resident bytes again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.peak = dict.fromkeys(("RssAnon", "RssFile"), 0)

    def run(self) -> None:
        while not self.stopped.wait(_SAMPLED_S):
            for name, found in self.peak.items():
                self.peak[name] = max(found, status_bytes(name))


def status_bytes(name: str) -> int:
    """A field of /proc/self/status that is in kB."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(text.split(f"{name}:")[1].split()[0])


@contextmanager
def measured() -> Iterator[Found]:
    """Fills in the seconds that the block took."""
    found: Found = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found["seconds"] = round(time.perf_counter() - wall, 4)
    found["cpu_s"] = round(time.process_time() - cpu, 4)


def main(step: str, checkpoint: Path, reference: Path, parts: Parts) -> None:
    memory = _Memory()
    memory.start()
    found = STEPS[step](Bench(checkpoint, reference, parts))
    memory.stopped.set()
    memory.join()
    found["peak_bytes"] = status_bytes("VmHWM")
    found["peak_anonymous_bytes"] = memory.peak["RssAnon"]
    found["peak_mapped_bytes"] = memory.peak["RssFile"]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Parts(**json.loads(sys.argv[4])))
