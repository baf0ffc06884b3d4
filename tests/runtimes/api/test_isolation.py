"""The same model beside us and in a process of its own: same events, same errors, nothing left."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import numpy as np
import psutil
import pytest

from edgellm.errors import Cancelled, FormatError, InputError, RuntimeFailure
from edgellm.events import (
    ContextFull,
    ContextTrimmed,
    Done,
    EngineFallback,
    Event,
    LoadProgress,
    PrefillProgress,
)
from edgellm.runtimes.api.launch import ISOLATIONS, Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.api.stream import Stream
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.worker.connection import WorkerConnection
from tests.support.gguf import TinyLlama
from tests.support.models import timeless

OPTIONS = LoadOptions(key_format="f32", value_format="f32", ubatch=64, threads=1)


@pytest.fixture(scope="module", params=ISOLATIONS)
def model(request: pytest.FixtureRequest, tiny_gguf: Path) -> Iterator[Model]:
    with Model(Launch(tiny_gguf, OPTIONS, isolation=request.param).open()) as loaded:
        yield loaded


def cached(stream: Stream) -> int:
    """Tokens of the prompt that were not read again; the answer goes on to its end."""
    first = next(event for event in stream if isinstance(event, PrefillProgress))
    stream.result()
    return first.cached


def pid_of(model: Model) -> int:
    connection = model._client._connection
    assert isinstance(connection, WorkerConnection)
    return connection.pid


def ends(pid: int) -> bool:
    """Whether the process ends soon; a zombie waits only for whoever inherited it."""
    for _ in range(500):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        sleep(0.01)
    return False


def test_both_tell_the_same_events(tiny_gguf: Path) -> None:
    def told(isolation: str) -> list[Event]:
        events: list[Event] = []
        with Model(Launch(tiny_gguf, OPTIONS, isolation=isolation).open(events.append)) as model:
            chat = model.chat("Be brief.")
            events += chat.send("What is a heron?", temperature=0, max_tokens=6)
            events += chat.send("And an egret?", seed=1, max_tokens=6)
            return timeless([*events, *chat.regenerate()])

    beside, apart = told("none"), told("process")
    assert isinstance(beside[0], LoadProgress)
    assert beside == apart


def test_a_prompt_beyond_the_context_is_told_and_refused(model: Model) -> None:
    stream = model.generate("x" * 600)
    seen: list[Event] = []
    with pytest.raises(InputError, match=r"602 tokens, .*512"):
        seen.extend(stream)
    assert seen == [ContextFull(602, 512)]


def test_a_second_turn_a_fork_and_a_regenerated_one_read_only_what_is_new(model: Model) -> None:
    chat = model.chat("You are terse.")
    chat.send("What is a heron?", temperature=0, max_tokens=8).result()
    read = model.count_tokens(chat.messages[:2]) + 8  # the last token of an answer is not read
    fork = chat.fork()
    assert cached(chat.send("Why is that so, do you think?", max_tokens=1)) >= read - 1
    assert cached(fork.send("Where does it live, and with whom?", max_tokens=1)) >= read - 1
    again = chat.regenerate()
    assert cached(again) == again.result().usage.prompt_tokens - 1


def test_an_edited_question_keeps_what_came_before_it(model: Model) -> None:
    chat = model.chat("You are terse.")
    head = len("You are terse.")  # tokens, at least
    chat.send("What is a heron?", temperature=0, max_tokens=8).result()
    assert head <= cached(edited := chat.edit(1, "Who?", max_tokens=1)) < head + 12
    assert edited.result().stop_reason == "length"


def test_an_answer_that_fills_the_context_makes_room_and_goes_on(model: Model) -> None:
    chat = model.chat("Stay", when_full="shift")
    for turn in range(3):
        chat.send(f"{turn} " + "word " * 16, temperature=0, max_tokens=4).result()
    events = list(chat.send("Talk on", temperature=0, max_tokens=400))
    trims = [event for event in events if isinstance(event, ContextTrimmed)]
    assert isinstance(done := events[-1], Done)
    assert done.usage.generated_tokens == 400
    assert done.stop_reason == "length"
    assert sum(trimmed.dropped_messages for trimmed in trims) >= 2
    assert all(trimmed.dropped_tokens > 0 for trimmed in trims)


def test_cancel_stops_reading_a_prompt(model: Model) -> None:
    first = model.generate("x" * 500, max_tokens=1)
    second = model.generate("y" * 500)  # waits, so that the cancel comes before it begins
    second.cancel()
    assert first.result().stop_reason == "length"
    assert second.result().stop_reason == "cancelled"


def test_vectors_cross_as_they_are(tiny_gguf: Path, model: Model) -> None:
    with LlamaCppRuntime().load(tiny_gguf, OPTIONS) as engine:
        expected = engine.embed(["a heron", "an egret"])
    assert np.array_equal(model.embed(["a heron", "an egret"]), expected)


def test_a_saved_conversation_goes_on_in_another_load(
    tiny_gguf: Path, model: Model, tmp_path: Path
) -> None:
    launch = Launch(tiny_gguf, OPTIONS, cache_dir=tmp_path / "cache")
    with Model(launch.open()) as first:
        chat = first.chat("You are terse.")
        chat.send("What is a heron?", temperature=0, max_tokens=8).result()
        saved = chat.save_state(tmp_path / "state")
        expected = chat.send("Why?", temperature=0, max_tokens=8).result().text
    with Model(launch.open()) as second:
        again = second.chat(messages=chat.messages[:3])
        assert again.restore_state(tmp_path / "state") == saved > 0
        stream = again.send("Why?", temperature=0, max_tokens=8)
        assert cached(stream) == saved
        assert stream.text == expected
    stranger = model.chat()
    assert stranger.restore_state(tmp_path / "state") == 0
    assert isinstance(next(stranger.send("Hi", max_tokens=1)), EngineFallback)


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_load_is_cancelled_and_leaves_nothing(isolation: str, tmp_path: Path) -> None:
    big = TinyLlama(layers=24, hidden=256, heads=4, ffn=1024).write(tmp_path / "big.gguf")
    cancel = CancelToken()

    def stop_early(event: Event) -> None:
        cancel.cancel()

    children = len(psutil.Process().children())
    with pytest.raises(Cancelled):
        Launch(big, OPTIONS, isolation=isolation).open(stop_early, cancel)
    assert len(psutil.Process().children()) == children


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_an_error_while_loading_is_the_engine_s_own(isolation: str, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUX" + bytes(40))
    with pytest.raises(FormatError, match=r"bad\.gguf"):
        Launch(tmp_path / "bad.gguf", OPTIONS, isolation=isolation).open()


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_listener_that_raises_undoes_the_load(isolation: str, tiny_gguf: Path) -> None:
    def raises(event: Event) -> None:
        raise LookupError("the listener's own")

    threads = threading.active_count()
    with pytest.raises(LookupError):
        Launch(tiny_gguf, OPTIONS, isolation=isolation).open(raises)
    assert threading.active_count() == threads


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_worker_that_is_killed_is_an_error_and_the_next_load_works(tiny_gguf: Path) -> None:
    for _ in range(2):
        with Model(Launch(tiny_gguf, OPTIONS).open()) as model:
            chat = model.chat()
            stream = chat.send("Talk", max_tokens=400)
            next(stream)
            os.kill(pid_of(model), signal.SIGKILL)
            with pytest.raises(RuntimeFailure, match="signal 9"):
                list(stream)
            with pytest.raises(RuntimeFailure, match="signal 9"):
                model.count_tokens("x")


def test_closing_frees_the_process(tiny_gguf: Path) -> None:
    model = Model(Launch(tiny_gguf, OPTIONS).open())
    pid = pid_of(model)
    assert psutil.pid_exists(pid)
    model.close()
    model.close()
    assert not psutil.pid_exists(pid)


def test_a_model_that_is_forgotten_leaves_no_process(tiny_gguf: Path) -> None:
    model = Model(Launch(tiny_gguf, OPTIONS).open())
    pid = pid_of(model)
    stream = model.generate("Talk")
    next(stream)
    del model, stream
    gc.collect()
    assert ends(pid)


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_program_that_closes_nothing_ends_and_leaves_nothing(
    isolation: str, tiny_gguf: Path
) -> None:
    program = (
        "import sys, edgellm\n"
        "model = edgellm.load(sys.argv[1], isolation=sys.argv[2], threads=1)\n"
        "stream = model.generate('Talk')\n"
        "next(stream)\n"
        "print(getattr(model._client._connection, 'pid', 0))\n"
    )
    command = [sys.executable, "-c", program, str(tiny_gguf), isolation]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert not (pid := int(done.stdout)) or ends(pid)
