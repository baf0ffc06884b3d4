"""The chat with the bundled model in a real terminal, as a new user meets it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from edgellm.children import child_command, child_environment
from tests.support.terminals import HAS_TMUX, Terminal

pytestmark = [
    pytest.mark.skipif(not HAS_TMUX, reason="needs tmux"),
    pytest.mark.skipif(sys.platform == "win32", reason="tmux is for POSIX"),
]
# An answer in this form does not end before the context is full.
LONG = '{"type": "array", "items": {"type": "integer"}, "minItems": 2000}'
IDLE = "Write here"
# A chat whose first frame stays until a file is there.
LATE = """
import sys, time
from pathlib import Path
from edgellm.apps.chat import launch
from edgellm.apps.chat.start import Start

def late(guard):
    from edgellm.testing import FakeRuntime
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    load.update(runtime=FakeRuntime(), isolation="none")
    return guarded_driver(guard)

load, guarded_driver = {}, launch.guarded_driver
launch.guarded_driver = late
launch.run_chat(Start(Path(sys.argv[2]), model="any.gguf", load=load))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that holds the bundled model, converted as the demo converts it."""
    folder = tmp_path_factory.mktemp("home")
    words = ["convert", "novelist-7m", "--memory", "62MiB", "--context", "2048"]
    command = child_command("edgellm", *words, "--sensitivity", "static", "--json")
    subprocess.run(command, env=environment(folder), check=True, stdout=subprocess.DEVNULL)
    return folder


def environment(home: Path) -> dict[str, str]:
    others = ("EDGELLM", "TMUX", "COLUMNS", "LINES")
    kept = {k: v for k, v in child_environment().items() if not k.startswith(others)}
    return {**kept, "EDGELLM_HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}


def open_chat(home: Path, *arguments: str, columns: int = 100, rows: int = 30) -> Terminal:
    command = child_command("edgellm", "chat", "novelist-7m", "--threads", "1", *arguments)
    return Terminal(command, environment(home), columns, rows)


def test_type_stream_stop_edit_and_quit(home: Path) -> None:
    with open_chat(home) as terminal:
        terminal.wait_for(IDLE)
        terminal.wait_for("ctx 0/2,048")
        terminal.type("Where did you find the old letter?")
        terminal.press("Enter")
        terminal.wait_for(lambda screen: " tokens · " in screen and "tok/s" in screen)
        terminal.type(f"/json {LONG}")
        terminal.press("Enter")
        terminal.wait_for("Answers will fit the schema")
        terminal.type("Go on")
        terminal.press("Enter")
        terminal.wait_for("Esc stops")
        terminal.wait_for("writing")
        terminal.press("Escape")
        terminal.wait_for("stopped by you")
        terminal.press("F4")
        terminal.wait_for("editing:")
        terminal.type(" and on")
        terminal.press("Enter")
        terminal.wait_for("writing")
        terminal.press("Escape")
        terminal.press("M-Up")
        terminal.wait_for("< 2/2 >")
        terminal.press("C-q")
        shown = terminal.wait_for("ended with 0")
        assert not terminal.is_on_alternate_screen
        for mode in (" echo ", " icanon ", " isig ", " icrnl "):
            assert mode in terminal.wait_for("icanon").replace("\n", " ")
        assert "Traceback" not in shown


def test_what_is_typed_at_the_first_frame_arrives_once_and_enter_sends_it(tmp_path: Path) -> None:
    go, chats = tmp_path / "go", tmp_path / "chats"
    command = [sys.executable, "-c", LATE, str(go), str(chats)]
    with Terminal(command, environment(tmp_path)) as terminal:
        terminal.wait_for("starting …")
        terminal.type("early words")
        terminal.press("Enter")
        terminal.type("more")
        assert "early" not in terminal.screen
        go.touch()
        screen = terminal.wait_for(lambda screen: screen.count("early words") > 2)  # and a title
        assert screen.count("early words") == 3
        terminal.wait_for("│ more ")
        terminal.press("C-q")
        terminal.wait_for("ended with 0")
        assert " icrnl " in terminal.wait_for("icanon").replace("\n", " ")


def test_a_conversation_goes_on_where_it_was_left_without_being_read_again(home: Path) -> None:
    with open_chat(home, columns=120, rows=40) as terminal:
        terminal.wait_for("ctx 0/2,048")
        terminal.type("Tell me of the sea, and of the night, and of the ship that never came back.")
        terminal.press("Enter")
        terminal.wait_for(" tokens · ")
        terminal.press("C-q")
        terminal.wait_for("ended with 0")
    with open_chat(home, "--continue", columns=120, rows=40) as terminal:
        terminal.wait_for("Tell me of the sea")
        terminal.wait_for(lambda screen: "/2,048" in screen and "ctx 0" not in screen)
        terminal.type("And then?")
        terminal.press("Enter")
        screen = terminal.wait_for(lambda screen: " cached" in screen and "And then?" in screen)
        cached = next(line for line in screen.splitlines() if " cached" in line and " of " in line)
        assert int(cached.split(" of ")[0].split()[-1]) > 20


@pytest.mark.parametrize("size", [(80, 24), (60, 16)])
def test_it_works_in_a_small_terminal(home: Path, size: tuple[int, int]) -> None:
    columns, rows = size
    with open_chat(home, columns=columns, rows=rows) as terminal:
        terminal.wait_for("ctx 0/2,048")
        terminal.type("/he")
        terminal.wait_for("/help")
        terminal.press("Tab")
        terminal.wait_for("│ /help ")
        terminal.press("Enter")
        terminal.wait_for("Keys and commands")
        terminal.press("Escape")  # alone: with the next key at once it would be Alt with that
        terminal.wait_for(lambda screen: "Keys and commands" not in screen)
        terminal.type("Hello")
        terminal.press("Enter")
        terminal.wait_for("tok/s")
        terminal.press("C-c", "C-c")
        terminal.wait_for("ended with 0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_terminal_is_given_back_when_the_chat_is_killed(
    home: Path, number: signal.Signals
) -> None:
    with open_chat(home) as terminal:
        terminal.wait_for("ctx 0/2,048")
        (chat,) = psutil.Process(terminal.process).children()
        os.kill(chat.pid, number)
        terminal.wait_for(lambda screen: not terminal.is_on_alternate_screen)
        terminal.type("seen again")
        terminal.wait_for("seen again")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--theme", "purple"], 2, "no theme 'purple'; known:"),
        (["--port", "1"], 2, "--port is for --serve"),
        (["--memroy", "1GiB"], 2, "No such option"),
        (["--memory", "rubbish"], 2, "rubbish"),
    ],
)
def test_a_typo_is_one_line(home: Path, arguments: list[str], code: int, line: str) -> None:
    with open_chat(home, *arguments) as terminal:
        screen = terminal.wait_for(f"ended with {code}")
        assert line in screen
        assert not terminal.is_on_alternate_screen


def test_a_model_that_is_not_there_is_said_and_another_can_be_chosen(home: Path) -> None:
    command = child_command("edgellm", "chat", "nothing-here", "--offline")
    with Terminal(command, environment(home)) as terminal:
        terminal.wait_for("no model: 'nothing-here'")
        terminal.type("/model novelist-7m")
        terminal.press("Enter")
        terminal.wait_for("ctx 0/2,048")
        terminal.press("C-q")
        terminal.wait_for("ended with 0")
