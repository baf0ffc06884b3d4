"""Measuring decode speed: every format gets a figure, a finding is kept, a bad one is not."""

import dataclasses
import json
from pathlib import Path

import pytest

from edgellm.progress import Progress
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp import speed
from edgellm.runtimes.llama_cpp.speed import Efforts, measure_decode_speed
from edgellm.runtimes.llama_cpp.timing import Effort, Measured, Stage, measure_in_turn
from edgellm.speed import QUIET_SPREAD, DecodeSpeed
from tests.support.specs import make_spec

SPEC = make_spec(layers=1, hidden=256, ffn=256, vocab=64)
_LITTLE = Effort(0.0, rounds=1)
QUICK = Efforts(_LITTLE, _LITTLE, _LITTLE)


@pytest.fixture(scope="module")
def measured() -> DecodeSpeed:
    return measure_decode_speed(SPEC, 1, efforts=QUICK)


@pytest.fixture
def quiet(measured: DecodeSpeed, monkeypatch: pytest.MonkeyPatch) -> list[DecodeSpeed]:
    """Measurements made, each of them on a quiet machine whatever else runs here."""
    made: list[DecodeSpeed] = []

    def measure(*_: object) -> DecodeSpeed:
        made.append(dataclasses.replace(measured, spread=0.0, token_seconds=float(len(made))))
        return made[-1]

    monkeypatch.setattr(speed, "_measure", measure)
    return made


def test_every_weight_format_takes_time(measured: DecodeSpeed) -> None:
    assert set(measured.weight_seconds) == set(load_tables().weight_formats)
    assert all(seconds > 0 for seconds in measured.weight_seconds.values())


def test_every_pair_of_cache_formats_takes_time(measured: DecodeSpeed) -> None:
    names = set(load_tables().kv_formats)
    assert set(measured.attention_seconds) == names
    for row in measured.attention_seconds.values():
        assert set(row) == names
        assert all(seconds > 0 for seconds in row.values())


def test_heads_that_no_block_divides_have_float_caches_only() -> None:
    found = measure_decode_speed(make_spec(layers=1, head_dim=40), 1, efforts=QUICK)
    assert set(found.attention_seconds) == {"f32", "f16", "bf16"}


def test_a_kept_finding_is_not_measured_again(quiet: list[DecodeSpeed], tmp_path: Path) -> None:
    first = measure_decode_speed(SPEC, 1, tmp_path)
    assert measure_decode_speed(SPEC, 1, tmp_path) == first
    assert len(quiet) == 1


def test_each_number_of_threads_is_measured(quiet: list[DecodeSpeed], tmp_path: Path) -> None:
    measure_decode_speed(SPEC, 1, tmp_path)
    measure_decode_speed(SPEC, 2, tmp_path)
    assert len(quiet) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"threads": 1}', b"\xff\xfe"])
def test_a_damaged_finding_is_measured_again(
    quiet: list[DecodeSpeed], tmp_path: Path, damage: bytes
) -> None:
    measure_decode_speed(SPEC, 1, tmp_path)
    (kept,) = tmp_path.glob("*.json")
    kept.write_bytes(damage)
    second = measure_decode_speed(SPEC, 1, tmp_path)
    assert second == quiet[1]
    assert DecodeSpeed.from_json(json.loads(kept.read_bytes()), "kept") == second


def test_what_a_busy_machine_gave_is_not_kept(
    measured: DecodeSpeed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    busy = dataclasses.replace(measured, spread=2 * QUIET_SPREAD)
    monkeypatch.setattr(speed, "_measure", lambda *_: busy)
    assert measure_decode_speed(SPEC, 1, tmp_path) == busy
    assert list(tmp_path.glob("*.json")) == []


def test_an_interrupt_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupt(progress: Progress) -> None:
        if progress.phase == "layers" and progress.done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_decode_speed(SPEC, 1, tmp_path / "cache", interrupt, QUICK)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_timers_take_turns_and_the_first_round_does_not_count() -> None:
    told: list[str] = []
    samples = {"a": iter([100.0] + [1.0] * 9), "b": iter([100.0] + [2.0] * 9)}

    def take(name: str) -> float:
        told.append(name)
        return next(samples[name])

    timers = {"a": lambda: take("a"), "b": lambda: take("b")}
    stage = Stage("test", 1, lambda progress: None)
    found = measure_in_turn(timers, Effort(60.0, rounds=9), stage)
    assert told == ["a", "b"] * 10
    assert found == {"a": Measured(1.0, 0.0), "b": Measured(2.0, 0.0)}


def test_samples_that_were_disturbed_raise_the_spread_and_not_the_figure() -> None:
    found = Measured.of([1.0, 9.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0])
    assert found == Measured(1.0, 8.0)
