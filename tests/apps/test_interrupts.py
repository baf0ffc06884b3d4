"""Ctrl-C, as a terminal sends it, to a real process."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.checkpoints import write_checkpoint
from tests.support.gguf import TinyLlama

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
ENDLESS = ("--raw", "--temperature", "0", "--context", "2048", "--memory", "1GiB")
BUSY_S = 60.0


def start(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgellm", *arguments]
    environment = {**os.environ, "EDGELLM_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.fixture
def slow_checkpoint(tmp_path: Path) -> Path:
    """Large enough that a conversion to iq4_xs takes seconds."""
    return write_checkpoint(
        tmp_path / "slow", tokenizer=True, hidden_size=1024, intermediate_size=2816, dtype="F16"
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + BUSY_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.01)


def test_an_interrupted_answer_keeps_its_text_and_exits_130(home: Path) -> None:
    run = start(home, "run", "novelist-7m", "The", *ENDLESS)
    assert run.stdout is not None
    first = run.stdout.read(1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=BUSY_S)
    assert run.returncode in (0, 130)  # 0 where the answer ended before the signal came
    assert first + out
    assert b"Traceback" not in err


def test_an_interrupted_comparison_exits_130_with_one_line(home: Path, tmp_path: Path) -> None:
    model = TinyLlama().write(tmp_path / "model.gguf")
    text = tmp_path / "text.txt"
    text.write_text("All work and no play makes Jack a dull boy.\n" * 50_000)
    run = start(home, "eval", str(model), "--reference", str(model), "--text", str(text))
    assert run.stderr is not None
    assert b" s left" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=BUSY_S)
    assert run.returncode == 130
    assert [line for line in err.splitlines() if not line.startswith(b"evaluate: ")] == [
        b"edgellm: scoring was cancelled"
    ]
    assert out == b""


def test_an_interrupted_measurement_exits_130_and_tells_nothing_but_json(
    home: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGELLM_PROGRESS", "json")
    measured = ("--sensitivity", "noise", "--memory", "1GiB", "--context", "64", "--json")
    plan = start(home, "plan", str(checkpoint), *measured)
    assert plan.stderr is not None
    while b"observe" not in (told := plan.stderr.readline()):
        assert told, "it ended before it measured"
    plan.send_signal(signal.SIGINT)
    out, err = plan.communicate(timeout=BUSY_S)
    assert plan.returncode == 130
    assert {json.loads(line)["phase"] for line in err.splitlines()} <= {"observe", "disturb"}
    assert out == b""


def test_a_first_use_draws_bars_in_a_terminal_and_an_interrupt_shows_its_cursor_again(
    home: Path, slow_checkpoint: Path
) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgellm", "run", str(slow_checkpoint), "Hi"]
    environment = {**os.environ, "EDGELLM_HOME": str(home), "TERM": "xterm", "COLUMNS": "100"}
    run = subprocess.Popen(
        [*command, "--memory", "1GiB", "--context", "64"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the end of a terminal is an error
        while piece := os.read(ours, 1 << 16):
            if b"quantize" in piece and b"quantize" not in shown:
                os.killpg(run.pid, signal.SIGINT)
            shown += piece
    os.close(ours)
    assert run.wait(BUSY_S) == 130
    assert "━━━".encode() in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"goes on from here" in shown
    assert b"Traceback" not in shown


def test_an_interrupted_conversion_resumes_to_the_same_bytes(
    home: Path, slow_checkpoint: Path, tmp_path: Path
) -> None:
    def arguments(out: str) -> list[str]:
        target = ["convert", str(slow_checkpoint), "-o", str(tmp_path / out)]
        return [*target, "--memory", "1GiB", "--context", "64", "--format", "iq4_xs", "--json"]

    first = start(home, *arguments("a"))
    wait_for(tmp_path / ".a.partial" / "artifact" / "model.gguf")
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=BUSY_S)
    assert first.returncode == 130
    assert b"goes on from here" in err
    assert b"Traceback" not in err
    assert not (tmp_path / "a").exists()
    sums = []
    for out in ("a", "b"):
        printed, _ = start(home, *arguments(out)).communicate(timeout=BUSY_S)
        sums.append([file["sha256"] for file in json.loads(printed)["files"]])
    assert sums[0] == sums[1]
    assert not (tmp_path / ".a.partial").exists()
