"""Loaded models for tests: a scripted engine, and what a stream said without the clock."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgellm.events import Done, Event, MemorySample, Timings
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.options import LoadOptions
from edgellm.testing import FakeRuntime


def fake_launch(path: Path = Path("fake.gguf"), **script: Any) -> Launch:
    return Launch(path, LoadOptions(), FakeRuntime(**script), isolation="none")


def fake_model(**script: Any) -> Model:
    """A model of FakeRuntime(**script) on a thread of this process; close it."""
    return Model(fake_launch(**script).open())


def timeless(events: Iterable[Event]) -> list[Event]:
    """The events without what differs from run to run: times, and measured memory."""
    kept = (event for event in events if not isinstance(event, MemorySample))
    return [
        replace(event, timings=Timings(0, 0, 0, 0)) if isinstance(event, Done) else event
        for event in kept
    ]
