"""How long work tells its caller where it is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a long job."""

    phase: str  # "hash", "quantize", "download", "verify"
    done_bytes: int
    total_bytes: int
    item: str = ""  # what is being worked on, such as a tensor's name


ProgressSink = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The sink for callers who do not watch."""
