"""Every command with its key and its slash command."""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from edgellm.apps.chat.commands.table import COMMANDS, Command
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.hints import Keys, shown_key

_KEY_CELLS, _NAME_CELLS = 16, 24
_WRITING = (
    ("↑ ↓", "in an empty prompt: what was sent before"),
    ("/", "commands, completed with Tab; // begins a text with a slash"),
    ("Ctrl+C", "copy what is selected; twice: leave"),
    ("Ctrl+D", "in an empty prompt: leave"),
)


class HelpDialog(Dialog[None]):
    """A page to scroll."""

    DEFAULT_CSS = """
    HelpDialog > Vertical { height: 90%; }
    HelpDialog > Vertical > VerticalScroll { height: 1fr; }
    """
    KEYS: ClassVar[str] = "↑↓ scroll · Esc leaves · keys are changed under [keys] in config.toml"

    def __init__(self, keys: Keys) -> None:
        """keys: as they are now, by the names of config.toml."""
        super().__init__("Keys and commands")
        self._keys = keys

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(can_focus=True):
            yield Static(Text("\n").join(lines(self._keys)))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def lines(keys: Keys) -> Iterator[Text]:
    """The page, a line each."""
    yield Text("Writing", "bold")
    yield Text(f"  {shown_key(keys['send']):<{_KEY_CELLS}}send")
    yield Text(
        f"  {shown_key(keys['newline']):<{_KEY_CELLS}}begin a line; Shift+Enter and Alt+Enter too, "
        "where the terminal tells them apart"
    )
    for key, what in _WRITING:
        yield Text(f"  {key:<{_KEY_CELLS}}{what}")
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            yield Text()
            yield Text(group, "bold")
        name = f"/{command.name} {command.argument}".strip()
        key = shown_keys(keys, command)
        yield Text(f"  {key:<{_KEY_CELLS}}{name:<{_NAME_CELLS}}{command.title}")


def shown_keys(keys: Keys, command: Command) -> str:
    """A command's key; the one it has while a turn is selected stands behind."""
    words = [shown_key(keys.get(command.name, ""))] if command.keys else []
    if command.turn_keys:
        words.append(f"({shown_key(keys[f'turn.{command.name}'])})")
    return " ".join(words)
