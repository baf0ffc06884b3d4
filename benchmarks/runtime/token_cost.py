"""What one decoded token costs in Python: the engine's loop without llama.cpp's own two calls.

python -m benchmarks.runtime.token_cost [--answers N]

The clock is read around llama_decode and llama_sampler_sample, and what reading it costs is taken
off. It counts the thread's own time: other programs do not lengthen that by taking turns with it,
though they do by emptying caches.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request

TOKENS = 500
KINDS = {
    "greedy": SamplingOptions(temperature=0, repeat_penalty=1, max_tokens=TOKENS),
    "sampled": SamplingOptions(seed=1, max_tokens=TOKENS),
    "stop texts": SamplingOptions(seed=1, max_tokens=TOKENS, stop=("\n\nUser:", "<|end|>")),
}


class Clock:
    """Seconds spent in calls that it was put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = thread_time()
            result = call(*arguments)
            self.seconds += thread_time() - began
            return result

        return timed

    def reading_s(self, calls: int = 20_000) -> float:
        """What one call takes longer for being timed."""
        timed = self.around(int)
        self.seconds = 0.0
        began = thread_time()
        for _ in range(calls):
            timed()
        return (thread_time() - began - self.seconds) / calls


def token_us(
    model: LlamaCppModel, sampling: SamplingOptions, clock: Clock, reading_s: float
) -> float:
    """Microseconds of Python for each token of one answer."""
    events = model.generate(Request("Once upon a time", sampling))
    next(events), next(events)  # the prompt, which is one ubatch
    clock.seconds = 0.0
    began = thread_time()
    for event in events:
        done = event
    seconds = thread_time() - began - clock.seconds
    seconds -= 2 * reading_s * done.usage.generated_tokens  # type: ignore[union-attr]
    return seconds / done.usage.generated_tokens * 1e6  # type: ignore[union-attr]


def costs(model: LlamaCppModel, answers: int) -> dict[str, dict[str, float]]:
    clock = Clock()
    reading_s = clock.reading_s()
    for name in ("llama_decode", "llama_sampler_sample"):
        setattr(llama, name, clock.around(getattr(llama, name)))
    samples: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(answers):
        for kind, sampling in KINDS.items():
            samples[kind].append(token_us(model, sampling, clock, reading_s))
    return {
        kind: {"median_us": statistics.median(found), "worst_us": max(found)}
        for kind, found in samples.items()
    }


def write_model(scratch: Path) -> Path:
    """The bundled model in q8_0."""
    tables = load_tables()
    checkpoint = open_checkpoint(bundled_checkpoint())
    spec = read_spec(checkpoint)
    plan = uniform_plan(spec, "q8_0", Budget(1024), tables)
    convert(checkpoint, spec, plan, scratch / "artifact", tables=tables)
    return scratch / "artifact" / "model.gguf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = write_model(Path(scratch))
        with LlamaCppRuntime().load(path, LoadOptions(threads=1)) as model:
            figures = costs(model, options.answers)
    print(figures)
    write_result("token_cost", {"answers": options.answers, "tokens": TOKENS, "python": figures})


if __name__ == "__main__":
    main()
