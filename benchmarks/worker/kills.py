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
from contextlib import suppress
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
        self.phases = {phase: threading.Event() for phase in (*PHASES, "end")}
        self.moments_s: dict[str, float] = {}
        self.text = ""

    def run(self, artifact: Path) -> None:
        self._enter("spawn")
        with open_model(artifact, self._on_load) as model:
            self._enter("prefill")
            stream = model.generate(PROMPT, max_tokens=ANSWER_TOKENS, temperature=0)
            for event in stream:
                if isinstance(event, TextDelta):
                    self._enter("decode")
            self.text = stream.text
        self._enter("end")

    @property
    def phase(self) -> str:
        return next(reversed(self.moments_s))

    def length_s(self, phase: str) -> float:
        """Of a phase of a round that was not disturbed."""
        following = [*PHASES, "end"][PHASES.index(phase) + 1]
        return self.moments_s[following] - self.moments_s[phase]

    def _on_load(self, event: Event) -> None:
        self._enter("load")

    def _enter(self, phase: str) -> None:
        self.moments_s.setdefault(phase, time.perf_counter())
        self.phases[phase].set()


class Killer(threading.Thread):
    """Kills the worker of a round some time after a phase of it began."""

    def __init__(self, round_: Round, phase: str, delay_s: float) -> None:
        super().__init__(daemon=True)
        self._round = round_
        self._after = phase
        self._delay_s = delay_s
        self.killed_s: float | None = None  # on the clock of time.perf_counter
        self.phase = ""  # that the worker was in

    def run(self) -> None:
        pid = None
        while pid is None and not self._round.phases["end"].is_set():
            pid = worker_of({child.pid for child in psutil.Process().children()})
        self._round.phases[self._after].wait()
        time.sleep(self._delay_s)
        if pid is not None:
            self.phase = self._round.phase
            self.killed_s = time.perf_counter()
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


def killed_round(artifact: Path, phase: str, delay_s: float) -> tuple[str, float]:
    """The phase in which the worker died, and the seconds until the caller knew."""
    round_ = Round()
    killer = Killer(round_, phase, delay_s)
    killer.start()
    failed_s: float | None = None
    try:
        round_.run(artifact)
    except RuntimeFailure:
        failed_s = time.perf_counter()
        for begun in round_.phases.values():  # nothing to wait for any more
            begun.set()
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
        wanted = PHASES[sum(phases.values()) % len(PHASES)]
        moment_s = chance.uniform(0, undisturbed.length_s(wanted))
        phase, delay_s = killed_round(artifact, wanted, moment_s)
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
