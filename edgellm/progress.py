"""How long work tells its caller where it is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Unit = Literal["bytes", "tokens", "plans"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a long job."""

    phase: str  # "hash", "quantize", "download", "verify"
    done: int  # of the unit
    total: int
    item: str = ""  # what is being worked on, such as a tensor's name
    unit: Unit = "bytes"


ProgressSink = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The sink for callers who do not watch."""
