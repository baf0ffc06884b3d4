"""`edgellm bench`: what it measures, what it prints, what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.apps.cli.speed_prompts import PromptWriter
from edgellm.apps.cli.speed_report import Figure, Report
from edgellm.apps.cli.speed_rounds import Course, Sample, SpeedRounds
from edgellm.apps.cli.speed_timing import greedy, time_answer
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.launch import Launch
from edgellm.runtimes.model import Model
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import ModelInfo
from edgellm.testing import FakeRuntime
from tests.apps.conftest import Cli
from tests.support.gguf import TinyLlama

BRIEF = ("-p", "24", "-n", "6", "-r", "2", "--threads", "1", "--context", "256")
MEDIANS = {"load_s", "first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s"}


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return TinyLlama().write(tmp_path / "model.gguf")


def fake(runtime: FakeRuntime) -> Model:
    return Model(Launch(Path("any.gguf"), LoadOptions(), runtime, isolation="none").open())


def test_json_holds_medians_samples_and_settings(cli: Cli, gguf: Path) -> None:
    report = cli("bench", gguf, *BRIEF, "--isolation", "none", "--json").json
    assert report.keys() >= MEDIANS
    assert all(report[key] > 0 for key in MEDIANS)
    (depth,) = report["depths"]
    assert len(depth["prefill_tokens_per_s"]["samples"]) == report["rounds"] == 2
    settings = report["settings"]
    assert (settings["threads"], settings["context"], settings["ubatch"]) == (1, 256, 256)
    assert settings["key_format"] in report["llama_bench"]


def test_the_worker_is_measured_unless_asked_otherwise(cli: Cli, gguf: Path) -> None:
    report = cli("bench", gguf, *BRIEF, "-r", "1", "--json").json
    assert report["settings"]["isolation"] == "process"


def test_the_table_names_tests_as_llama_bench_does_and_fits_80_columns(
    cli: Cli, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(gguf.parent)
    ran = cli("bench", gguf.name, *BRIEF, "-d", "0,32", "--isolation", "none")
    names = [line.partition("  ")[0] for line in ran.out.splitlines()]
    assert {"pp24", "tg6", "pp24 @ d32", "tg6 @ d32"} <= set(names)
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "round 2 of 2" in ran.err


def test_a_context_that_is_too_small_is_refused(cli: Cli, gguf: Path) -> None:
    ran = cli("bench", gguf, "-p", "200", "-d", "100", "--context", "256", "--isolation", "none")
    assert ran.code == 2
    assert "needs a context of 300 tokens" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("depth", ["x", "-1", "0,", "8,8"])
def test_depths_that_are_none_are_refused(cli: Cli, gguf: Path, depth: str) -> None:
    assert cli("bench", gguf, f"--depth={depth}").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_prints_the_rounds_so_far_and_exits_130(home: Path, gguf: Path) -> None:
    command = [sys.executable, "-m", "edgellm", "bench", str(gguf), *BRIEF, "-r", "100000"]
    run = subprocess.Popen(
        [*command, "--isolation", "none"],
        env={**os.environ, "EDGELLM_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stderr is not None
    while not run.stderr.readline().startswith(b"round 1 "):
        pass
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert b"\npp24 " in out
    assert b"Traceback" not in err


def test_prompts_have_the_tokens_asked_for_and_keep_their_beginning(gguf: Path) -> None:
    with Model(Launch(gguf, LoadOptions(threads=1), isolation="none").open()) as model:
        writer = PromptWriter(model.count_tokens)
        for tokens in (16, 97):
            before = writer.text(tokens, turn=3)
            longer = writer.longer(before, tokens + 40)
            assert model.count_tokens(before) == tokens
            assert model.count_tokens(longer) == tokens + 40
            assert longer.startswith(before)


def test_reading_is_timed_behind_the_depth_alone() -> None:
    read: list[str] = []

    def say(prompt: str) -> str:
        read.append(prompt)
        return "word " * 100

    runtime = FakeRuntime(answer=say, prefill_s=0.001, context=512)
    test = SpeedRounds(lambda: fake(runtime), Course(40, 5, (64,), 1), CancelToken())
    (_, first), (number, sample) = test.rounds()
    assert (number, sample.depth, first.depth) == (1, 64, 64)
    before, prompt = read[1], read[2]
    assert prompt.startswith(before)


def test_the_callers_clock_sees_the_time_of_each_token() -> None:
    runtime = FakeRuntime(answer=["one two three four five six"], decode_s=0.02, prefill_s=0.01)
    with fake(runtime) as model:
        times = time_answer(lambda prompt, tokens: greedy(model, prompt, tokens), "a b c d", 6)
    assert times.decode_s >= 6 * 0.02
    assert times.prefill_s >= 4 * 0.01
    assert times.first_token_s >= times.prefill_s
    assert times.decode_tokens_per_s == 5 / times.decode_s


def test_the_four_keys_are_medians_at_the_first_depth(gguf: Path) -> None:
    with fake(FakeRuntime()) as model:
        info: ModelInfo = model.info
    samples = [
        Sample(d, 1.0 + d, 2.0, rate + d, rate, rate) for rate in (3.0, 9.0, 5.0) for d in (8, 0)
    ]
    report = Report(gguf, Course(4, 4, (8, 0), 3), "none", info, samples).to_json()
    assert report["prefill_tokens_per_s"] == 13.0
    assert [depth["depth"] for depth in report["depths"]] == [8, 0]


def test_a_figures_spread_is_its_range_as_a_share_of_its_median() -> None:
    assert Figure((2.0, 4.0, 5.0)).to_json()["spread"] == 0.75


def test_an_ubatch_larger_than_planned_is_refused(cli: Cli, checkpoint: Path) -> None:
    small = ("--memory", "1GiB", "--context", "256")
    ran = cli("bench", checkpoint, *small, "--ubatch", "4096", "-p", "8", "-n", "4")
    assert ran.code == 2
    assert "was planned for" in ran.err
