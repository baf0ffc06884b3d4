"""Copying with programs that stand in for a desktop's tools, and with the exact bytes of OSC 52."""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from edgellm.apps.chat import clipboard
from edgellm.apps.chat.clipboard import TERMINAL_TEXT_BYTES, Copied, copy

if sys.platform == "win32":
    pytest.skip("the stand-ins are shell scripts", allow_module_level=True)

WAYLAND = {"WAYLAND_DISPLAY": "wayland-0"}
X11 = {"DISPLAY": ":0"}
SSH = {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}
TMUX = {"TMUX": "/tmp/tmux-0/default,1,0", "TERM": "tmux-256color"}
TEXT = "naïve 🙂\n  text"
PLAIN = f"\x1b]52;c;{base64.b64encode(TEXT.encode()).decode()}\x07"
RECORDS = '/bin/cat > "$0.got"; echo "$@" > "$0.arguments"'


class Desk:
    """A PATH of stand-ins, and a terminal that remembers what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[str] = []

    def install(self, name: str, body: str = RECORDS) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def got(self, name: str) -> bytes | None:
        path = self.folder / f"{name}.got"
        return path.read_bytes() if path.exists() else None

    def copy(
        self, environment: Mapping[str, str], text: str = TEXT, platform: str = "linux"
    ) -> Copied:
        whole = {"PATH": str(self.folder), **environment}
        return asyncio.run(
            copy(text, self.written.append, whole, platform=platform, timeout_s=20.0)
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("name", "arguments", "environment", "platform"),
    [
        ("pbcopy", "", {}, "darwin"),
        ("wl-copy", "--type text/plain", WAYLAND, "linux"),
        ("xclip", "-selection clipboard", X11, "linux"),
        ("xsel", "--clipboard --input", X11, "linux"),
    ],
)
def test_a_tool_of_the_desktop_gets_the_text(
    desk: Desk, name: str, arguments: str, environment: dict[str, str], platform: str
) -> None:
    desk.install(name)
    copied = desk.copy(environment, platform=platform)
    assert copied == Copied(name, True, len(TEXT), copied.hint)
    assert str(copied) == f"copied {len(TEXT)} characters with {name}"
    assert desk.got(name) == TEXT.encode()
    assert (desk.folder / f"{name}.arguments").read_text().strip() == arguments
    assert desk.written == []


@pytest.mark.parametrize(
    ("environment", "platform"), [({}, "win32"), ({"WSL_DISTRO_NAME": "Debian"}, "linux")]
)
def test_the_tool_of_windows_gets_utf_16(
    desk: Desk, environment: dict[str, str], platform: str
) -> None:
    desk.install("clip.exe")
    assert desk.copy(environment, platform=platform).way == "clip.exe"
    assert desk.got("clip.exe") == TEXT.encode("utf-16-le")


def test_powershell_stands_in_for_a_missing_clip(desk: Desk) -> None:
    desk.install("powershell.exe")
    assert desk.copy({}, platform="win32").way == "powershell.exe"
    assert desk.got("powershell.exe") == TEXT.encode()


@pytest.mark.parametrize(
    ("environment", "platform", "way"),
    [
        (X11, "darwin", "pbcopy"),
        (WAYLAND | {"WSL_DISTRO_NAME": "Debian"}, "linux", "wl-copy"),
        ({}, "linux", "the terminal (OSC 52)"),
    ],
)
def test_a_tool_of_another_desktop_is_left_alone(
    desk: Desk, environment: dict[str, str], platform: str, way: str
) -> None:
    for name in ("pbcopy", "wl-copy", "xclip", "clip.exe"):
        desk.install(name)
    assert desk.copy(environment, platform=platform).way == way


def test_wayland_goes_before_x11(desk: Desk) -> None:
    desk.install("wl-copy")
    desk.install("xclip")
    assert desk.copy(WAYLAND | X11).way == "wl-copy"
    assert desk.got("xclip") is None


def test_a_tool_that_fails_gives_way_to_the_next(desk: Desk) -> None:
    desk.install("wl-copy", "exit 1")
    desk.install("xclip", "exec /no/such/program")
    desk.install("xsel")
    assert desk.copy(WAYLAND | X11).way == "xsel"


def test_a_file_that_cannot_be_run_gives_way_to_the_terminal(desk: Desk) -> None:
    desk.install("xclip", "")
    (desk.folder / "xclip").write_bytes(b"\x7fELF")
    assert desk.copy(X11).way == "the terminal (OSC 52)"


def test_a_tool_in_the_current_folder_is_not_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.install("xclip")
    monkeypatch.chdir(desk.folder)
    assert desk.copy({**X11, "PATH": os.pathsep.join(("", "."))}).way == "the terminal (OSC 52)"
    assert desk.got("xclip") is None


def test_a_tool_that_hangs_is_ended_with_all_it_started(desk: Desk) -> None:
    desk.install("xclip", 'echo $$ > "$0.pid"; /bin/sleep 600; exit 0')
    environment = {"PATH": str(desk.folder), **X11}
    copied = asyncio.run(copy("x" * 1_000_000, desk.written.append, environment, timeout_s=2.0))
    assert not copied.is_copied
    group = int((desk.folder / "xclip.pid").read_text())
    left = [process for process in psutil.process_iter() if group_of(process) == group]
    assert [process for process in left if process.status() != psutil.STATUS_ZOMBIE] == []


def group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def test_a_tool_that_stays_in_the_background_is_not_waited_for(desk: Desk) -> None:
    desk.install("wl-copy", RECORDS + '\n/bin/sleep 600 & echo $! > "$0.pid"')
    copied = desk.copy(WAYLAND)
    background = int((desk.folder / "wl-copy.pid").read_text())
    assert copied.way == "wl-copy"
    assert os.getsid(background) != os.getsid(0)  # it outlives the terminal's session
    os.kill(background, signal.SIGKILL)


def test_a_copy_that_is_cancelled_ends_its_tool(desk: Desk) -> None:
    desk.install("xclip", 'echo $$ > "$0.pid"; exec /bin/sleep 600')

    async def cancel() -> None:
        environment = {"PATH": str(desk.folder), **X11}
        task = asyncio.create_task(copy(TEXT, desk.written.append, environment, timeout_s=60.0))
        async with asyncio.timeout(20.0):
            while not (desk.folder / "xclip.pid").exists():
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(cancel())
    assert not psutil.pid_exists(int((desk.folder / "xclip.pid").read_text()))


def test_without_a_tool_the_terminal_gets_the_text(desk: Desk) -> None:
    copied = desk.copy({})
    assert copied == Copied("the terminal (OSC 52)", False, len(TEXT), copied.hint)
    assert desk.written == [PLAIN]
    assert str(copied) == (
        f"copied {len(TEXT)} characters through the terminal (OSC 52); if paste is empty, your"
        " terminal does not allow it: allow OSC 52 in its settings"
    )


@pytest.mark.parametrize("environment", [SSH, {"SSH_TTY": "/dev/pts/1"}])
def test_over_ssh_the_terminal_gets_the_text_and_no_tool_of_that_machine(
    desk: Desk, environment: dict[str, str]
) -> None:
    for name in ("pbcopy", "wl-copy", "xclip", "clip.exe"):
        desk.install(name)
    own = environment | X11 | WAYLAND | {"WSL_DISTRO_NAME": "Debian"}
    assert desk.copy(own).way == "the terminal (OSC 52)"
    assert desk.copy(own, platform="darwin").way == "the terminal (OSC 52)"
    assert desk.written == [PLAIN, PLAIN]


def test_a_display_that_ssh_forwards_gets_the_text_as_well(desk: Desk) -> None:
    desk.install("xclip")
    copied = desk.copy(SSH | {"DISPLAY": "localhost:10.0"})
    assert str(copied) == f"copied {len(TEXT)} characters with xclip and the terminal (OSC 52)"
    assert desk.got("xclip") == TEXT.encode()
    assert desk.written == [PLAIN]


def test_in_tmux_the_text_goes_through_tmux(desk: Desk) -> None:
    desk.install("tmux")
    copied = desk.copy(TMUX)
    assert (copied.way, copied.is_sure) == ("tmux", False)
    assert "set-clipboard on" in str(copied)
    assert desk.got("tmux") == TEXT.encode()
    assert (desk.folder / "tmux.arguments").read_text() == "load-buffer -w -\n"
    assert desk.written == []


def test_in_tmux_the_desktop_gets_the_text_as_well(desk: Desk) -> None:
    desk.install("tmux")
    desk.install("wl-copy")
    assert str(desk.copy(TMUX | WAYLAND)) == f"copied {len(TEXT)} characters with wl-copy and tmux"


@pytest.mark.parametrize("environment", [TMUX, {"TERM": "tmux-256color", **SSH}])
def test_a_tmux_that_knows_no_load_buffer_gets_the_sequence_plain_and_wrapped(
    desk: Desk, environment: dict[str, str]
) -> None:
    desk.install("tmux", "exit 1")
    assert desk.copy(environment).way == "the terminal (OSC 52)"
    assert desk.written == [PLAIN, "\x1bPtmux;\x1b" + PLAIN + "\x1b\\"]


def test_screen_gets_the_sequence_in_pieces_it_can_take(desk: Desk) -> None:
    text = "x" * 1000
    desk.copy({"STY": "1.pts-0.host", "TERM": "screen"}, text)
    assert len(desk.written) > 4
    assert all(len(piece) <= 256 for piece in desk.written)
    assert all(piece.startswith("\x1bP") and piece.endswith("\x1b\\") for piece in desk.written)
    whole = "".join(piece[2:-2] for piece in desk.written)
    assert whole == f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"


def test_the_longest_text_for_a_terminal_fills_one_sequence_of_100_000_bytes(desk: Desk) -> None:
    assert desk.copy({}, "x" * TERMINAL_TEXT_BYTES).is_copied
    assert 99_996 < len(desk.written[0]) <= 100_000


def test_a_longer_text_is_refused_whole(desk: Desk) -> None:
    copied = desk.copy({}, "ü" * 40_000)
    assert str(copied) == (
        "not copied: the terminal (OSC 52) takes 74994 bytes, these are 80000, and no clipboard"
        " tool works here; install wl-copy, xclip or xsel"
    )
    assert desk.written == []


@pytest.mark.parametrize(("name", "environment"), [("xclip", X11), ("tmux", TMUX)])
def test_a_longer_text_goes_to_a_tool(desk: Desk, name: str, environment: dict[str, str]) -> None:
    desk.install(name)
    text = "x" * 1_000_000
    assert desk.copy(environment, text).way == name
    assert desk.got(name) == text.encode()


def test_nothing_is_not_copied(desk: Desk) -> None:
    desk.install("xclip")
    assert str(desk.copy(X11, "")) == "not copied: there is no text"
    assert desk.got("xclip") is None


def test_half_a_surrogate_pair_does_not_stop_a_copy(desk: Desk) -> None:
    desk.install("xclip")
    assert desk.copy(X11, "a\ud83db").is_sure
    assert desk.got("xclip") == b"a?b"


def test_one_character_is_one() -> None:
    assert str(Copied("xclip", True, 1)) == "copied 1 character with xclip"


def test_each_tool_has_one_row() -> None:
    names = [tool.command[0] for tool in clipboard.TOOLS]
    assert sorted(names) == sorted(set(names))
    assert isinstance(clipboard.TOOLS, tuple)
