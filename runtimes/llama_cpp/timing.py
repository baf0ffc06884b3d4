"""Repeated measurements that other programs on the machine disturb as little as possible."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from edgellm.progress import Progress, ProgressSink

Name = TypeVar("Name")
_LEAST_ROUNDS = 6  # few enough for a slow machine, too many for one disturbance to hit all


@dataclass(frozen=True, slots=True)
class Measured:
    """One quantity, from several samples."""

    # The lowest decile: whatever else runs makes samples longer, and never shorter.
    value: float
    spread: float  # how far the median lies above it, as a share

    @classmethod
    def of(cls, samples: list[float]) -> "Measured":
        low = statistics.quantiles(samples, n=10, method="inclusive")[0]
        return cls(low, statistics.median(samples) / low - 1)


@dataclass(frozen=True, slots=True)
class Effort:
    """When a measurement has enough rounds; some are made in any case, and one to warm up."""

    seconds: float
    rounds: int = 24  # at most


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the measurement, as its progress is told."""

    phase: str
    round_bytes: int  # read in one round
    progress: ProgressSink

    def tell(self, done: int, rounds: int) -> None:
        self.progress(Progress(self.phase, done * self.round_bytes, rounds * self.round_bytes))


def measure_in_turn(
    timers: Mapping[Name, Callable[[], float]], effort: Effort, stage: Stage
) -> dict[Name, Measured]:
    """Let each timer take a sample in turn, round after round, until the time is up.

    Turns spread a disturbance over all of them, where one after the other it would hit one. The
    first round, which also touches memory for the first time, does not count.
    """
    samples: dict[Name, list[float]] = {name: [] for name in timers}
    rounds = 1 + max(effort.rounds, _LEAST_ROUNDS)
    started = perf_counter()
    for done in range(rounds):
        stage.tell(done, rounds)
        for name, timer in timers.items():
            samples[name].append(timer())
        if done >= _LEAST_ROUNDS and perf_counter() - started > effort.seconds:
            break
    stage.tell(rounds, rounds)
    return {name: Measured.of(found[1:]) for name, found in samples.items()}
