"""How `edgellm run` shows an answer, and how it leaves, whatever engine gives the answer."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer

from edgellm.apps.cli.answer import Question, answer
from edgellm.apps.cli.errors import exit_code, one_line
from edgellm.errors import RuntimeFailure, UsageError
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.wire import Loaded
from tests.support.gguf import TinyLlama
from tests.support.models import fake_launch

HELLO = Question("Hello", None, raw=False)
LONG = "word " * 100_000


def ask(question: Question = HELLO, *, as_json: bool = False, **script: Any) -> None:
    answer(fake_launch(**script), question, {}, json=as_json, stats=not as_json)


def test_the_answer_goes_to_stdout_and_its_figures_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask(answer=["One two."])
    out, err = capsys.readouterr()
    assert out == "One two.\n"
    assert "2 written" in err
    assert "resident" in err


def test_a_system_message_stands_before_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    ask(Question("Hello", "Be brief.", raw=False), answer=lambda prompt: prompt.replace("<", "["))
    assert capsys.readouterr().out == "[system>Be brief.[end>[user>Hello[end>[assistant>\n"


def test_raw_text_is_not_put_into_a_template_and_takes_no_system_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask(Question("Hello", None, raw=True), answer=lambda prompt: f"{prompt}!")
    assert capsys.readouterr().out == "Hello!\n"
    with pytest.raises(UsageError, match="drop --raw"):
        ask(Question("Hello", "Be brief.", raw=True))


def test_an_answer_that_fills_the_context_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    ask(as_json=True, answer=[LONG], context=32)
    out, err = capsys.readouterr()
    assert json.loads(out)["stop_reason"] == "context_full"
    assert err.splitlines() == ["edgellm: the context of 32 tokens is full; the answer ends"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_keeps_the_words_so_far_and_leaves_with_130(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(prompt: str) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return LONG

    with pytest.raises(typer.Exit) as left:
        ask(as_json=True, answer=interrupted, decode_s=0.01, context=200_000)
    assert left.value.exit_code == 130
    assert json.loads(capsys.readouterr().out)["stop_reason"] == "cancelled"


def test_an_engine_that_fails_prints_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeFailure, match="no more"):
        ask(as_json=True, answer_error=RuntimeFailure("fake", "no more"))
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_worker_that_dies_is_one_line_and_exit_code_4(tmp_path: Path) -> None:
    def kill(loaded: Loaded) -> None:
        for child in psutil.Process().children():
            child.kill()

    gguf = TinyLlama().write(tmp_path / "tiny.gguf")
    launch = Launch(gguf, LoadOptions(threads=1), check=kill)
    with pytest.raises(RuntimeFailure) as failure:
        answer(launch, HELLO, {}, json=True, stats=False)
    assert exit_code(failure.value) == 4
    (line,) = one_line(failure.value).splitlines()
    assert "ended with signal 9" in line
