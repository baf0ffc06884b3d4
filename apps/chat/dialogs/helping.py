"""Every command with its key and its slash command."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from edgellm.apps.chat.commands.table import COMMANDS
from edgellm.apps.chat.dialogs.dialog import Dialog

_KEY_CELLS, _NAME_CELLS = 16, 24
_WRITING = (
    ("Enter", "send"),
    ("Ctrl+J", "begin a line; Shift+Enter and Alt+Enter, where the terminal tells them apart"),
    ("↑ ↓", "in an empty prompt: what was sent before"),
    ("/", "commands, completed with Tab; // begins a text with a slash"),
    ("Ctrl+C", "copy what is selected; twice: leave"),
    ("Ctrl+D", "in an empty prompt: leave"),
)


class HelpDialog(Dialog[None]):
    """A page to scroll."""

    DEFAULT_CSS = """
    HelpDialog > Vertical > VerticalScroll { height: auto; max-height: 100%; }
    """
    KEYS: ClassVar[str] = "↑↓ scroll · Esc leaves · keys are changed under [keys] in config.toml"

    def __init__(self, keys: Mapping[str, str]) -> None:
        """keys: of each command by its name, as they are now."""
        super().__init__("Keys and commands")
        self._keys = keys

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(can_focus=True):
            yield Static(Text("\n").join(lines(self._keys)))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def lines(keys: Mapping[str, str]) -> Iterator[Text]:
    """The page, a line each."""
    yield Text("Writing", "bold")
    for key, what in _WRITING:
        yield Text(f"  {key:<{_KEY_CELLS}}{what}")
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            yield Text()
            yield Text(group, "bold")
        name = f"/{command.name} {command.argument}".strip()
        key = shown_keys(keys.get(command.name, command.keys), command.turn_keys)
        yield Text(f"  {key:<{_KEY_CELLS}}{name:<{_NAME_CELLS}}{command.title}")


def shown_keys(keys: str, turn_keys: str = "") -> str:
    """Keys as people write them; those of a selected turn stand behind."""
    words = [_shown(key) for key in keys.split(",") if key][:1]
    words += [f"({_shown(key)})" for key in turn_keys.split(",") if key]
    return " ".join(words)


def _shown(key: str) -> str:
    names = {"escape": "Esc", "left_square_bracket": "[", "right_square_bracket": "]"}
    parts = key.strip().split("+")
    if len(parts) == 1 and len(key) == 1:
        return key
    return "+".join(names.get(part, part.capitalize()) for part in parts)
