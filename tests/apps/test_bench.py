"""`edgellm bench`: what it measures, what it prints, what it refuses."""

import os
import signal
import sys
from pathlib import Path

import pytest
import typer

from edgellm.apps.cli.bench import measure
from edgellm.apps.cli.speed_prompts import PromptWriter
from edgellm.apps.cli.speed_report import Figure, Report
from edgellm.apps.cli.speed_rounds import Course, Sample, SpeedRounds
from edgellm.apps.cli.speed_timing import greedy, time_answer
from edgellm.errors import UsageError
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import ModelInfo
from tests.apps.conftest import Cli
from tests.support.gguf import TinyLlama
from tests.support.models import fake_launch, fake_model

BRIEF = ("-p", "24", "-n", "6", "-r", "2", "--threads", "1", "--context", "256")
TALKS = {"answer": ["word " * 100]}
MEDIANS = {"load_s", "first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s"}


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return TinyLlama().write(tmp_path / "model.gguf")


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
    gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(gguf.parent)
    measure(fake_launch(Path(gguf.name), **TALKS), Course(24, 6, (0, 32), 2), json=False)
    out, err = capsys.readouterr()
    names = [line.partition("  ")[0] for line in out.splitlines()]
    assert {"pp24", "tg6", "pp24 @ d32", "tg6 @ d32"} <= set(names)
    assert max(map(len, out.splitlines())) <= 80
    assert "round 2 of 2" in err


def test_a_context_that_is_too_small_is_refused(
    gguf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="needs a context of 300 tokens"):
        measure(fake_launch(gguf, context=256), Course(200, 6, (100,), 1), json=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("depth", ["x", "-1", "0,", "8,8"])
def test_depths_that_are_none_are_refused(cli: Cli, gguf: Path, depth: str) -> None:
    assert cli("bench", gguf, f"--depth={depth}").code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_prints_the_rounds_so_far_and_exits_130(
    gguf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts: list[str] = []

    def interrupted(prompt: str) -> str:
        prompts.append(prompt)
        if len(prompts) == 8:  # in round 2: each takes three answers, and one comes to warm up
            os.kill(os.getpid(), signal.SIGINT)
        return "word " * 100

    launch = fake_launch(gguf, answer=interrupted, decode_s=0.001)
    with pytest.raises(typer.Exit) as left:
        measure(launch, Course(24, 6, (0,), 100_000), json=False)
    assert left.value.exit_code == 130
    assert "\npp24 " in capsys.readouterr().out


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

    def load() -> Model:
        return fake_model(answer=say, prefill_s=0.001)

    rounds = SpeedRounds(load, Course(40, 5, (64,), 1), CancelToken())
    (_, first), (number, sample) = rounds.samples()
    assert (number, sample.depth, first.depth) == (1, 64, 64)
    before, prompt = read[1], read[2]
    assert prompt.startswith(before)


def test_the_callers_clock_sees_the_time_of_each_token() -> None:
    said = ["one two three four five six"]
    with fake_model(answer=said, decode_s=0.02, prefill_s=0.01) as model:
        times = time_answer(lambda prompt, tokens: greedy(model, prompt, tokens), "a b c d", 6)
    assert times.decode_s >= 6 * 0.02
    assert times.prefill_s >= 4 * 0.01
    assert times.first_token_s >= times.prefill_s
    assert times.decode_tokens_per_s == 5 / times.decode_s


def test_the_four_keys_are_medians_at_the_first_depth(gguf: Path) -> None:
    with fake_model() as model:
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
