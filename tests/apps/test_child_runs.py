"""An `edgellm` run for a program: heard, bounded, ended in every case."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgellm.apps import child_runs
from edgellm.apps.child_news import MAX_LINE_BYTES, Lines, read_news
from edgellm.apps.child_runs import run_child
from edgellm.errors import (
    BudgetError,
    Cancelled,
    EdgeLLMError,
    InputError,
    RuntimeFailure,
    UsageError,
)
from edgellm.progress import Progress, ignore_progress
from edgellm.runtimes.cancel import CancelToken
from tests.support.checkpoints import write_checkpoint

BUSY_S = 60.0
STEP = '{"phase": "quantize", "done": 1, "total": 2, "unit": "bytes", "item": "a"}'
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="sends signals")


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets a program of one's own stand for edgellm."""

    def play(program: str) -> None:
        head = "import os, signal, sys, time\nerr = sys.stderr\n"
        command = [sys.executable, "-c", head + program]
        monkeypatch.setattr(child_runs, "edgellm_command", lambda *arguments: command)

    return play


def ignore_note(text: str) -> None:
    pass


def run(
    *arguments: str,
    progress: Callable[[Progress], None] = ignore_progress,
    note: Callable[[str], None] = ignore_note,
    cancel: CancelToken | None = None,
) -> str:
    words = arguments or ("convert",)
    return run_child(words, progress=progress, note=note, cancel=cancel or CancelToken())


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_progress_and_notes_arrive_in_order_on_the_thread_that_asked(
    plays: Callable[[str], None],
) -> None:
    plays(
        f"for line in ({STEP!r}, 'ggml: rubbish', '{{\"note\": \"half\"}}', '{{', {STEP!r}):\n"
        "    print(line, file=err)\n"
        "print('the result')"
    )
    heard: list[object] = []

    def hear(news: object) -> None:
        heard.append((news, threading.get_ident()))

    assert run(progress=hear, note=hear) == "the result\n"
    step, here = Progress("quantize", 1, 2, "a"), threading.get_ident()
    assert heard == [(step, here), ("half", here), (step, here)]
    assert children() == []


@pytest.mark.parametrize("stream", ["out", "err"])
def test_a_flood_neither_blocks_nor_is_kept(stream: str, plays: Callable[[str], None]) -> None:
    flood = "err.write('x' * (1 << 20) + '\\n')" if stream == "err" else "print('x' * (1 << 20))"
    plays(
        f"for _ in range(40): {flood}\n"
        f"print({STEP!r}, file=err)\n"
        "print('edgellm: it was bad', file=err)\n"
        "sys.exit(3)"
    )
    heard: list[Progress] = []
    with pytest.raises(InputError, match=r"^it was bad$"):
        run(progress=heard.append)
    assert len(heard) == 1


def test_more_on_stdout_than_is_kept_is_a_failure(
    plays: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_runs, "MAX_OUT_BYTES", 1 << 20)
    plays("while True: print('x' * (1 << 16))")
    with pytest.raises(RuntimeFailure, match=r"printed more than 1\.00 MiB"):
        run()
    assert children() == []


def test_a_line_without_end_is_cut_and_the_next_one_whole() -> None:
    lines = Lines()
    pieces = [b"y" * 50_000] * 10 + [b"\nab", b"c\n\nd"]
    found = [line for piece in pieces for line in lines.feed(piece)]
    assert found == [b"y" * MAX_LINE_BYTES, b"abc", b""]
    assert lines.rest() == b"d"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "[1]",
        "{'note': 1}",
        '{"note": 1}',
        '{"note": "a", "b": 1}',
        STEP + " and more",
        STEP.replace('"unit": "bytes"', '"unit": "miles"'),
        STEP.replace('"done": 1', '"done": -1'),
        STEP.replace('"done": 1', '"done": true'),
        STEP.replace('"item": "a"', '"item": null'),
        STEP.replace(', "item": "a"', ""),
        '{"note": ' * 5000,
        '{"note": "\xff"}',
    ],
)
def test_a_line_that_only_looks_like_news_is_none(line: str) -> None:
    assert read_news(line.encode("latin-1")) is None


def test_news_hold_nothing_that_cannot_be_shown() -> None:
    assert read_news(b'{"note": "a\\udcffb"}') == "a?b"


@pytest.mark.parametrize(
    ("code", "said", "kind", "text"),
    [
        (1, "edgellm: the text has no figures", EdgeLLMError, "^the text has no figures$"),
        (2, "edgellm: size '1'", UsageError, "^size '1'$"),
        (3, "edgellm: x: no file", InputError, "^x: no file$"),
        (4, "edgellm: disk full", RuntimeFailure, "^edgellm convert: disk full$"),
        (130, "", Cancelled, "goes on from there"),
        (0, "edgellm: ", None, ""),
        (1, "Traceback (most recent call last):\n  x\nKeyError: 1", RuntimeFailure, "KeyError: 1"),
        (9, "", RuntimeFailure, "its process ended with status 9"),
    ],
)
def test_an_exit_code_and_a_last_line_are_the_error_they_were(
    code: int,
    said: str,
    kind: type[Exception] | None,
    text: str,
    plays: Callable[[str], None],
) -> None:
    plays(f"err.write({said!r}); sys.exit({code})")
    if kind is None:
        assert run() == ""
        return
    with pytest.raises(kind, match=text) as error:
        run()
    assert type(error.value) is kind


def test_a_refusal_keeps_its_figures(checkpoint: Path) -> None:
    with pytest.raises(BudgetError, match="needs at least") as refusal:
        run("plan", str(checkpoint), "--memory", "38MiB", "--context", "256", "--json")
    assert refusal.value.needed_bytes > refusal.value.budget_bytes == 38 << 20
    assert refusal.value.parts["total_bytes"] == refusal.value.needed_bytes


@POSIX
def test_a_child_that_is_killed_says_its_last_words(plays: Callable[[str], None]) -> None:
    plays("print('ggml: out of luck', file=err); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RuntimeFailure, match=r"signal 9 .*ggml: out of luck"):
        run()


def test_a_cancel_ends_the_child_and_silences_it(plays: Callable[[str], None]) -> None:
    plays(f"while True: print({STEP!r}, file=err)")
    cancel, heard = CancelToken(), list[Progress]()

    def progress(step: Progress) -> None:
        heard.append(step)
        cancel.cancel()

    with pytest.raises(Cancelled, match="convert was cancelled; the next one goes on from there"):
        run(progress=progress, cancel=cancel)
    assert len(heard) == 1
    assert children() == []


@POSIX
def test_a_child_that_will_not_end_is_killed(
    plays: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_runs, "GRACE_S", 0.3)
    plays(
        f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint({STEP!r}, file=err)\ntime.sleep(600)"
    )
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        run(progress=lambda step: cancel.cancel(), cancel=cancel)
    assert children() == []


def test_a_cancel_before_the_start_starts_nothing(plays: Callable[[str], None]) -> None:
    plays("raise AssertionError")
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        run("eval", cancel=cancel)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("the caller's own")])
def test_no_child_outlives_what_its_listener_raises(
    error: BaseException, plays: Callable[[str], None]
) -> None:
    plays(f"while True: print({STEP!r}, file=err)")

    def progress(step: Progress) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        run(progress=progress)
    assert raised.value is error
    assert children() == []


@POSIX
def test_no_child_outlives_an_interrupt_while_it_is_silent(plays: Callable[[str], None]) -> None:
    plays("time.sleep(600)")

    def interrupt_once_it_runs() -> None:
        deadline = time.monotonic() + BUSY_S
        while not children() and time.monotonic() < deadline:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt_once_it_runs)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run()
    thread.join()
    assert children() == []


@POSIX
def test_what_the_child_leaves_behind_holds_nobody_up(
    plays: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_runs, "_DRAIN_S", 0.4)
    plays(
        "import subprocess\n"
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(left.pid, flush=True)"
    )
    left = int(run())
    psutil.Process(left).kill()


@POSIX
def test_a_conversion_ends_soon_after_the_program_that_runs_it_was_killed(
    checkpoint: Path, tmp_path: Path
) -> None:
    program = (
        "import os, sys\n"
        "from edgellm.apps.child_runs import run_child\n"
        "from edgellm.runtimes.cancel import CancelToken\n"
        "def hear(step): print(step.phase, flush=True)\n"
        f"run_child(['plan', {str(checkpoint)!r}, '--memory', '1GiB', '--sensitivity', 'noise'],"
        " progress=hear, note=print, cancel=CancelToken())"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert running.stdout is not None
    while b"observe" not in (told := running.stdout.readline()):
        assert told, "it ended before it measured"
    (child,) = psutil.Process(running.pid).children()
    running.kill()
    running.communicate()
    child.wait(BUSY_S)
    assert not child.is_running()


def test_a_cancelled_conversion_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    sizes = {"hidden_size": 1024, "intermediate_size": 2816, "dtype": "F16"}
    slow = write_checkpoint(tmp_path / "slow", tokenizer=True, **sizes)  # type: ignore[arg-type]
    cancel, heard = CancelToken(), list[Progress]()

    def words(out: str) -> list[str]:
        budget = ("--memory", "1GiB", "--context", "64", "--format", "iq4_xs")
        return ["convert", str(slow), "-o", str(tmp_path / out), *budget, "--json"]

    def cancel_past_a_quarter(step: Progress) -> None:
        if step.phase == "quantize" and step.done > step.total / 4:
            cancel.cancel()

    with pytest.raises(Cancelled):
        run(*words("a"), progress=cancel_past_a_quarter, cancel=cancel)
    assert not (tmp_path / "a").exists()
    resumed, whole = json.loads(run(*words("a"), progress=heard.append)), run(*words("b"))
    assert resumed["files"] == json.loads(whole)["files"]
    assert next(step.done for step in heard if step.phase == "verify") > 0
    ends = [step for step in heard if step.phase == "quantize"]
    assert ends[-1].done == ends[-1].total


def verbs(checkpoint: Path, tmp_path: Path) -> dict[str, list[str]]:
    text = tmp_path / "text.txt"
    text.write_text("All work and no play makes Jack a dull boy.\n" * 60)
    budget = ["--memory", "1GiB", "--context", "64", "--json"]
    out = tmp_path / "out"
    return {
        "plan": ["plan", str(checkpoint), *budget, "--curve"],
        "convert": ["convert", str(checkpoint), *budget, "-o", str(out), "--format", "q8_0"],
        "eval": ["eval", str(out), "--reference", str(out), "--text", str(text), "--json"],
    }


@pytest.mark.parametrize(
    ("verb", "last"),
    [
        ("plan", ("curve", "plans")),
        ("convert", ("quantize", "bytes")),
        ("eval", ("evaluate", "tokens")),
    ],
)
def test_every_line_of_a_verb_in_a_pipe_is_json_and_its_work_ends_at_its_total(
    verb: str,
    last: tuple[str, str],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = verbs(checkpoint, tmp_path)
    if verb == "eval":
        run(*steps["convert"])
    monkeypatch.setenv("EDGELLM_PROGRESS", "json")
    command = [sys.executable, "-m", "edgellm", *steps[verb]]
    done = subprocess.run(command, capture_output=True, check=True)
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert isinstance(json.loads(done.stdout), dict)
    reached = [line for line in told if "phase" in line]
    assert all(line.keys() == {"note"} or "phase" in line for line in told)
    assert (reached[-1]["phase"], reached[-1]["unit"]) == last
    assert reached[-1]["done"] == reached[-1]["total"] > 0
