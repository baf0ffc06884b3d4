"""Copying text to the clipboard, and telling which way it went.

A tool of the desktop is sure and has no limit, where the desktop is the one the user looks at.
Over SSH it is not; there the terminal is asked with OSC 52, which answers nothing. tmux heeds OSC
52 of programs only with `set-clipboard on` and passes sequences on only with `allow-passthrough
on`, neither of them the default; `tmux load-buffer -w` needs neither.
"""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# What terminals agree on for a whole OSC 52 sequence, after hterm's osc52.sh; xterm and kitty take
# more, nobody takes less.
SEQUENCE_BYTES = 100_000
_OPENING, _CLOSING = "\x1b]52;c;", "\x07"
TERMINAL_TEXT_BYTES = (SEQUENCE_BYTES - len(_OPENING) - len(_CLOSING)) // 4 * 3
# GNU screen before 4.2 takes 256 bytes in one DCS: ESC P, this many, ESC \.
_SCREEN_CHUNK = 252
TIMEOUT_S = 3.0  # Windows' PowerShell needs more than one when it starts cold
_POWERSHELL = (
    "$in = New-Object IO.StreamReader([Console]::OpenStandardInput(), [Text.Encoding]::UTF8);"
    "Set-Clipboard -Value $in.ReadToEnd()"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of a copy."""

    way: str  # what took the text; empty where nothing did
    is_sure: bool  # a tool reported success; a terminal never reports
    characters: int
    hint: str = ""  # what to do where pasting gives nothing, or why nothing was copied

    @property
    def is_copied(self) -> bool:
        """Whether the text went anywhere at all."""
        return bool(self.way)

    def __str__(self) -> str:
        """One sentence for people."""
        if not self.way:
            return f"not copied: {self.hint}"
        count = "1 character" if self.characters == 1 else f"{self.characters} characters"
        if self.is_sure:
            return f"copied {count} with {self.way}"
        doubt = "if paste is empty, your terminal does not allow it"
        return f"copied {count} through {self.way}; {doubt}: {self.hint}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the chat runs, as far as the environment tells."""

    environment: Mapping[str, str]
    platform: str

    def has(self, *names: str) -> bool:
        """Whether one of these variables says something."""
        return any(self.environment.get(name) for name in names)

    @property
    def is_remote(self) -> bool:
        return self.has("SSH_CONNECTION", "SSH_TTY")

    @property
    def is_in_tmux(self) -> bool:
        # TERM crosses ssh, TMUX does not.
        return self.has("TMUX") or self.environment.get("TERM", "").startswith("tmux")

    @property
    def is_in_screen(self) -> bool:
        return self.has("STY") and not self.is_in_tmux

    @property
    def is_at_desk(self) -> bool:
        """Whether the desktop is surely the user's; a multiplexer may be attached from anywhere."""
        return not (self.is_remote or self.is_in_tmux or self.is_in_screen)

    @property
    def has_wayland(self) -> bool:
        return self.has("WAYLAND_DISPLAY") and not self.is_remote

    @property
    def has_x11(self) -> bool:
        """Whether there is an X display of the user's: over SSH, one that SSH forwards."""
        display = self.environment.get("DISPLAY", "")
        return not display.startswith(":") if display and self.is_remote else bool(display)

    @property
    def is_windows(self) -> bool:
        """Windows, or Linux within it, at the user's desk."""
        return not self.is_remote and (self.platform == "win32" or self.has("WSL_DISTRO_NAME"))


@dataclass(frozen=True, slots=True)
class ClipboardTool:
    """A program that takes the clipboard's text from its standard input."""

    command: tuple[str, ...]
    applies: Callable[[Place], bool]
    encoding: str = "utf-8"
    locale: str = ""  # for a tool that reads its input by it


# The first that applies and works is enough.
TOOLS: tuple[ClipboardTool, ...] = (
    ClipboardTool(
        ("pbcopy",),
        lambda place: place.platform == "darwin" and not place.is_remote,
        locale="en_US.UTF-8",
    ),
    ClipboardTool(("wl-copy", "--type", "text/plain"), lambda place: place.has_wayland),
    ClipboardTool(("xclip", "-selection", "clipboard"), lambda place: place.has_x11),
    ClipboardTool(("xsel", "--clipboard", "--input"), lambda place: place.has_x11),
    ClipboardTool(("clip.exe",), lambda place: place.is_windows, encoding="utf-16-le"),
    ClipboardTool(
        ("powershell.exe", "-NoProfile", "-NonInteractive", "-Command", _POWERSHELL),
        lambda place: place.is_windows,
    ),
)
_TMUX = ClipboardTool(("tmux", "load-buffer", "-w", "-"), lambda place: place.has("TMUX"))


async def copy(
    text: str,
    write: Callable[[str], None],
    environment: Mapping[str, str],
    *,
    platform: str = sys.platform,
    timeout_s: float = TIMEOUT_S,
) -> Copied:
    """Copy to the clipboard of whoever looks at the terminal.

    write: sends an escape sequence to the terminal. timeout_s: for each tool that is tried. What
    fails is told by the value returned, never by an exception.
    """
    if not text:
        return Copied("", False, 0, "there is no text")
    place = Place(environment, platform)
    tool = None
    if place.is_at_desk:
        tool = await _first_tool(text, place, timeout_s)
    if tool:
        return Copied(tool, True, len(text))
    terminal = await _through_terminal(text, write, place, timeout_s)
    if not place.is_at_desk:
        tool = await _first_tool(text, place, timeout_s)
    ways = " and ".join(way for way in (tool, terminal) if way)
    return Copied(ways, bool(tool), len(text), _hint(place) if ways else _too_long(text, place))


async def _first_tool(text: str, place: Place, timeout_s: float) -> str | None:
    """The name of the first tool that took the text."""
    for tool in TOOLS:
        if tool.applies(place) and await _feed(tool, text, place, timeout_s):
            return tool.command[0]
    return None


async def _through_terminal(
    text: str, write: Callable[[str], None], place: Place, timeout_s: float
) -> str | None:
    """Hand the text to tmux or to the terminal; the name of what took it."""
    if _TMUX.applies(place) and await _feed(_TMUX, text, place, timeout_s):
        return "tmux"
    if len(_encode(text, "utf-8")) > TERMINAL_TEXT_BYTES:
        return None
    for sequence in sequences(text, place):
        write(sequence)
    return "the terminal (OSC 52)"


def sequences(text: str, place: Place) -> tuple[str, ...]:
    """What to write so that the outermost terminal gets an OSC 52 sequence.

    tmux gets it twice: by its settings it heeds the one, the other or none.
    """
    encoded = base64.b64encode(_encode(text, "utf-8")).decode("ascii")
    plain = f"{_OPENING}{encoded}{_CLOSING}"
    if place.is_in_tmux:
        escaped = plain.replace("\x1b", "\x1b\x1b")
        return (plain, f"\x1bPtmux;{escaped}\x1b\\")
    if place.is_in_screen:
        starts = range(0, len(plain), _SCREEN_CHUNK)
        return tuple(f"\x1bP{plain[start : start + _SCREEN_CHUNK]}\x1b\\" for start in starts)
    return (plain,)


def _hint(place: Place) -> str:
    if place.has("TMUX"):
        return "allow OSC 52 in its settings, and in tmux: set -s set-clipboard on"
    return "allow OSC 52 in its settings"


def _too_long(text: str, place: Place) -> str:
    is_desktop = place.is_at_desk and place.platform == "linux"
    step = "install wl-copy, xclip or xsel" if is_desktop else "export the conversation instead"
    return (
        f"the terminal (OSC 52) takes {TERMINAL_TEXT_BYTES} bytes, these are"
        f" {len(_encode(text, 'utf-8'))}, and no clipboard tool works here; {step}"
    )


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "replace")


async def _feed(tool: ClipboardTool, text: str, place: Place, timeout_s: float) -> bool:
    """Run a tool with the text as its input; whether it is there and succeeded in time."""
    program = _find(tool.command[0], place)
    if program is None:
        return False
    environment = dict(place.environment)
    if tool.locale:
        environment["LC_ALL"] = tool.locale
    try:
        # A tool stays in the background to serve the text: pipes would never close, and it must
        # outlive this terminal's session.
        process = await asyncio.create_subprocess_exec(
            program,
            *tool.command[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(_encode(text, tool.encoding)), timeout_s)
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            _kill(process)
            await process.wait()
    return process.returncode == 0


def _find(name: str, place: Place) -> str | None:
    """The program's path; what lies in the current folder is not the system's tool."""
    for folder in place.environment.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder) / name
        if path.is_absolute() and path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a tool that hangs, with what it has started."""
    try:
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended just now
