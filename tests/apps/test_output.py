"""What a person at a terminal, a log and a program are told while something takes long."""

import json
import sys
from contextlib import ExitStack
from typing import Any
from unittest.mock import MagicMock

import pytest

from edgellm.apps.cli import progress_sinks
from edgellm.apps.cli.output import note
from edgellm.apps.cli.progress_sinks import (
    TerminalProgress,
    counted_progress,
    terminal_progress,
)
from edgellm.progress import Progress
from tests.apps.conftest import Cli


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    drawn = MagicMock()
    drawn.__enter__.return_value = drawn
    monkeypatch.setattr(progress_sinks, "_bars", lambda unit: drawn)
    return drawn


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    time = MagicMock()
    time.monotonic.return_value = 1000.0
    monkeypatch.setattr(progress_sinks, "time", time)
    return time


@pytest.fixture
def as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGELLM_PROGRESS", "json")


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_no_bar_is_drawn_for_what_is_done_when_first_heard_of(bars: MagicMock) -> None:
    with ExitStack() as stack:
        TerminalProgress(stack)(Progress("verify", 5, 5, "model.gguf"))
    assert bars.mock_calls == []


def test_a_bar_stays_from_the_first_wait_to_the_end(bars: MagicMock) -> None:
    with ExitStack() as stack:
        show = TerminalProgress(stack)
        show(Progress("verify", 2, 5, "model.gguf"))
        show(Progress("verify", 5, 5, "model.gguf"))
        assert not bars.__exit__.called
    bars.add_task.assert_called_once_with("verify", total=5)
    assert [call.kwargs["completed"] for call in bars.update.call_args_list] == [2, 5]
    assert bars.__exit__.called


@pytest.mark.parametrize(
    ("unit", "line"),
    [
        ("bytes", "work: 2.00 KiB of 4.00 KiB, 341 B/s, 6 s left"),
        ("tokens", "work: 2048 of 4096 tokens, 341 tokens/s, 6 s left"),
    ],
)
def test_a_log_gets_a_line_every_few_seconds(
    unit: Any, line: str, clock: MagicMock, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal_progress() as progress:
        for at_s in (0, 2, 4, 6, 8):
            clock.monotonic.return_value = 1000.0 + at_s
            progress(Progress("work", 2048 * at_s // 6, 4096, unit=unit))
    assert capsys.readouterr().err.splitlines() == [line]


@pytest.mark.usefixtures("as_json")
def test_a_program_gets_json_and_a_terminal_changes_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    note("two\nlines")
    with terminal_progress() as progress:
        progress(Progress("verify", 2, 5, "modèle.gguf"))
    assert told(capsys) == [
        {"note": "two\nlines"},
        {"phase": "verify", "done": 2, "total": 5, "unit": "bytes", "item": "modèle.gguf"},
    ]


@pytest.mark.usefixtures("as_json")
def test_a_program_gets_ten_lines_a_second_and_each_phase_from_first_to_last(
    clock: MagicMock, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal_progress() as progress:
        for phase in ("observe", "disturb"):
            for done in range(2001):
                clock.monotonic.return_value += 0.001
                progress(Progress(phase, done, 2000))
    lines = told(capsys)
    phases = [line["phase"] for line in lines]
    assert phases == sorted(phases, reverse=True)
    for phase in ("observe", "disturb"):
        reached = [line["done"] for line in lines if line["phase"] == phase]
        assert (reached[0], reached[-1]) == (0, 2000)
        assert reached == sorted(reached)
        assert 19 <= len(reached) <= 22


@pytest.mark.usefixtures("as_json", "clock")
def test_a_total_that_grows_with_what_is_done_floods_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal_progress() as progress:
        for done in range(1, 1000):
            progress(Progress("download", done, done))
    assert [line["done"] for line in told(capsys)] == [1, 999]


@pytest.mark.usefixtures("as_json", "clock")
def test_a_phase_that_comes_again_is_told_to_its_end_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal_progress() as progress:
        for done in (0, 1, 2, 0, 1, 2):
            progress(Progress("quantize", done, 2))
    assert [line["done"] for line in told(capsys)] == [0, 2, 2]


@pytest.mark.usefixtures("as_json")
def test_a_count_that_stops_early_still_ends_as_all(capsys: pytest.CaptureFixture[str]) -> None:
    with counted_progress("curve", 5, "plans") as advance:
        advance(2)
    lines = told(capsys)
    assert [line["done"] for line in lines] == [0, 5]
    assert {line["unit"] for line in lines} == {"plans"}


def test_an_unknown_way_to_tell_progress_is_refused_before_anything_begins(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELLM_PROGRESS", "xml")
    refused = cli("ls")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == "edgellm: EDGELLM_PROGRESS is 'xml'; expected json, or nothing\n"
