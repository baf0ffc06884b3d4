"""How long a load, the reading of a prompt and the writing of an answer go on after a cancel:

    python -m benchmarks.runtime.cancelling SCRATCH [--rounds N] [--threads N]

Through the API and its worker process, from another thread, at a moment drawn anew each time. A
cancelled load counts until its process is gone. The model is made in the folder SCRATCH once.
"""

import argparse
import random
import statistics
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep

from benchmarks.report import write_result
from benchmarks.runtime.models import SIZES, prepared
from edgellm.apps.cli.speed_prompts import PromptWriter
from edgellm.errors import Cancelled
from edgellm.events import Event, PrefillProgress, TextDelta
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.api.stream import Stream
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.options import LoadOptions

CONTEXT, PROMPT_TOKENS = 2048, 1536
LATEST_S = {"load": 0.5, "prefill": 1.0, "decode": 0.5}  # after the phase began


def load_s(launch: Launch, wait_s: float) -> float:
    """From the cancel of a load to its end."""
    cancel, began = CancelToken(), 0.0

    def stop() -> None:
        nonlocal began
        sleep(wait_s)
        began = perf_counter()
        cancel.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    with suppress(Cancelled):
        Model(launch.open(cancel=cancel)).close()
    ended = perf_counter()
    thread.join()
    return max(ended - began, 0.0) if began else 0.0


def answer_s(stream: Stream, phase: type[Event], wait_s: float) -> float:
    """From a cancel, some time after the first event of the phase, to the end of the answer."""
    with stream as events:
        first_of(events, phase)
        sleep(wait_s)
        began = perf_counter()
        threading.Thread(target=stream.cancel).start()
        assert stream.result().stop_reason == "cancelled"
        return perf_counter() - began


def first_of(events: Iterator[Event], phase: type[Event]) -> None:
    next(event for event in events if isinstance(event, phase))


def measure(launch: Launch, rounds: int) -> dict[str, list[float]]:
    chance = random.Random(1)
    found: dict[str, list[float]] = {phase: [] for phase in LATEST_S}
    for _ in range(rounds):
        found["load"].append(load_s(launch, chance.uniform(0, LATEST_S["load"])))
    with Model(launch.open()) as model:
        writer = PromptWriter(model.count_tokens)
        for turn in range(rounds):
            phases: tuple[tuple[str, type[Event], int], ...] = (
                ("prefill", PrefillProgress, PROMPT_TOKENS),
                ("decode", TextDelta, 16),
            )
            for name, event, length in phases:
                text = writer.text(length, turn)
                stream = model.generate(text, ignore_end=True)
                found[name].append(answer_s(stream, event, chance.uniform(0, LATEST_S[name])))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path, help="folder for the model; 4 GB")
    parser.add_argument("--size", choices=[*SIZES], default="1.5B")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    gguf = prepared(arguments.scratch, arguments.size, "q4_K")
    options = LoadOptions(CONTEXT, threads=arguments.threads)
    found = measure(Launch(gguf, options), arguments.rounds)
    figures = {
        "size": arguments.size,
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        **{
            phase: {
                "median_ms": round(1e3 * statistics.median(seconds), 1),
                "slowest_ms": round(1e3 * max(seconds), 1),
            }
            for phase, seconds in found.items()
        },
    }
    print(figures)
    print(write_result("cancelling", figures))


if __name__ == "__main__":
    main()
