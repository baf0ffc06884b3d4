"""Kills workers at random moments: `python -m benchmarks.worker.kills`.

200 times a model is loaded, reads a prompt and answers; at a random moment of one of these phases
its process is killed. Each time the caller must get RuntimeFailure within a second, nothing may be
left behind, and the next load must work.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import write_result
from benchmarks.worker.opening import (
    leftovers,
    marked_processes,
    open_model,
    prepare_model,
    worker_of,
)
from edgellm.errors import RuntimeFailure
from edgellm.events import Event, TextDelta

PHASES = ("spawn", "load", "prefill", "decode")
PROMPT = "The old man looked at the sea and thought of the letter. " * 45
ANSWER_TOKENS = 60
LIMIT_S = 1.0  # between the kill and the error
SETTLE_S = 3.0  # for a helper of the killed process to notice


class Round:
    """One load and one answer, with the moment each phase began."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.moments = {"spawn": 0.0}
        self.text = ""

    def run(self, artifact: Path) -> None:
        with open_model(artifact, self._on_load) as model:
            self._mark("prefill")
            stream = model.generate(PROMPT, max_tokens=ANSWER_TOKENS, temperature=0)
            for event in stream:
                if isinstance(event, TextDelta):
                    self._mark("decode")
            self.text = stream.text
        self._mark("end")

    @property
    def phase(self) -> str:
        return next(reversed(self.moments))

    def _on_load(self, event: Event) -> None:
        self._mark("load")

    def _mark(self, phase: str) -> None:
        self.moments.setdefault(phase, time.perf_counter() - self.began)


class Killer(threading.Thread):
    """Kills the worker of a round at a moment of it."""

    def __init__(self, round_: Round, moment_s: float) -> None:
        super().__init__(daemon=True)
        self._round = round_
        self._moment_s = moment_s
        self.killed_s: float | None = None  # on the clock of time.perf_counter
        self.phase = ""
        self.done = threading.Event()

    def run(self) -> None:
        time.sleep(max(0.0, self._round.began + self._moment_s - time.perf_counter()))
        while not self.done.is_set() and self.killed_s is None:
            children = {child.pid for child in psutil.Process().children()}
            if pid := worker_of(children):
                self.phase = self._round.phase
                self.killed_s = time.perf_counter()
                psutil.Process(pid).kill()


def window(moments: dict[str, float], phase: str) -> tuple[float, float]:
    """Between which seconds of an undisturbed round a phase lies."""
    ends = [*moments.values()]
    index = [*moments].index(phase)
    return ends[index], ends[index + 1]


def killed_round(artifact: Path, moment_s: float) -> tuple[str, float]:
    """The phase in which the worker died, and the seconds until the caller knew."""
    round_ = Round()
    killer = Killer(round_, moment_s)
    killer.start()
    failed_s: float | None = None
    try:
        round_.run(artifact)
    except RuntimeFailure:
        failed_s = time.perf_counter()
    killer.done.set()
    killer.join()
    if failed_s is None or killer.killed_s is None:
        return "ended before", 0.0
    return killer.phase, failed_s - killer.killed_s


def settled(before: Any) -> bool:
    """Whether everything is as it was; an orphan has a moment to notice."""
    deadline = time.monotonic() + SETTLE_S
    while leftovers() != before:
        if time.monotonic() > deadline:
            print("left behind:", before, leftovers(), marked_processes())
            return False
        time.sleep(0.02)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(prepare_model(Path(folder)), options.kills, random.Random(options.seed))
    print(figures)
    print(write_result("worker_kills", figures))
    return 0 if figures["passed"] else 1


def measure(artifact: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    for _ in range(2):  # the first one pays for caches
        undisturbed = Round()
        undisturbed.run(artifact)
    before = leftovers()
    phases: Counter[str] = Counter()
    delays: list[float] = []
    untidy = 0
    while len(delays) < kills:
        bounds = window(undisturbed.moments, PHASES[phases.total() % len(PHASES)])
        phase, delay_s = killed_round(artifact, chance.uniform(*bounds))
        phases[phase] += 1
        if phase != "ended before":
            delays.append(delay_s)
        untidy += not settled(before)
    last = Round()
    last.run(artifact)
    return {
        "kills": len(delays),
        "by_phase": dict(phases),
        "slowest_error_s": round(max(delays), 3),
        "median_error_s": round(sorted(delays)[len(delays) // 2], 3),
        "rounds_with_leftovers": untidy,
        "next_load_answers_the_same": last.text == undisturbed.text != "",
        "passed": not untidy and max(delays) < LIMIT_S and last.text == undisturbed.text,
    }


if __name__ == "__main__":
    sys.exit(main())
