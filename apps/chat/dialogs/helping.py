"""Every command with its key and its slash command."""

from collections.abc import Iterator
from textwrap import wrap
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from edgellm.apps.chat.commands.table import COMMANDS, Command
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.hints import Keys, shown_key

_KEY_CELLS, _NAME_CELLS = 13, 22
_LEAST_CELLS = 24  # of a title, beside its key and name; else it stands below them
_SCROLLING = (
    ("page-up", "a page up"),
    ("page-down", "a page down"),
    ("beginning", "to the beginning"),
    ("end", "to the end"),
)
_SCROLL_BAR_CELLS = 2
_WRITING = (
    ("↑ ↓", "in an empty prompt: what was sent before"),
    ("/", "commands, completed with Tab; // begins a text with a slash"),
    ("Ctrl+Z", "take back the last change of the text"),
    ("Ctrl+C", "copy what is selected; twice: leave"),
    ("Ctrl+D", "in an empty prompt: leave"),
)


class HelpDialog(Dialog[None]):
    """A page to scroll."""

    DEFAULT_CSS = """
    HelpDialog > Vertical { height: 90%; }
    HelpDialog > Vertical > VerticalScroll { height: 1fr; }
    """
    KEYS: ClassVar[str] = "↑↓ scroll · Esc leaves · other keys: [keys] in config.toml"

    def __init__(self, keys: Keys) -> None:
        """keys: as they are now, by the names of config.toml."""
        super().__init__("Keys and commands")
        self._keys = keys

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(can_focus=True):
            yield Static(id="page")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        cells = self.query_one(VerticalScroll).size.width - _SCROLL_BAR_CELLS
        self.query_one("#page", Static).update(Text("\n").join(lines(self._keys, cells)))


def lines(keys: Keys, cells: int) -> Iterator[Text]:
    """The page in a width, a line each."""
    yield Text("Writing", "bold")
    newline = "begin a line; Shift+Enter and Alt+Enter too, where the terminal tells them apart"
    for key, what in ((keys["send"], "send"), (keys["newline"], newline)):
        yield from _entry(f"{shown_key(key):<{_KEY_CELLS}} ", what, cells)
    for key, what in _WRITING:
        yield from _entry(f"{key:<{_KEY_CELLS}} ", what, cells)
    yield Text()
    yield Text("What was said", "bold")
    for name, what in _SCROLLING:
        yield from _entry(f"{shown_key(keys[name]):<{_KEY_CELLS}} ", what, cells)
    group = ""
    for command in COMMANDS:
        if command.group != group:
            group = command.group
            yield Text()
            yield Text(group, "bold")
        name = f"/{command.name} {command.argument}".strip()
        key = shown_keys(keys, command)
        yield from _entry(f"{key:<{_KEY_CELLS}} {name:<{_NAME_CELLS}} ", command.title, cells)


def _entry(head: str, title: str, cells: int) -> Iterator[Text]:
    """A title beside its head, each line of it; below where that leaves too little room."""
    head = f"  {head}"
    if cells - len(head) >= _LEAST_CELLS:
        first, *rest = wrap(title, cells - len(head))
        yield Text(head + first)
        yield from (Text(" " * len(head) + line) for line in rest)
        return
    yield Text(head.rstrip())
    yield from (Text(f"    {line}", "dim") for line in wrap(title, max(cells - 4, 8)))


def shown_keys(keys: Keys, command: Command) -> str:
    """A command's key; the one it has while a turn is selected stands behind."""
    words = [shown_key(keys.get(command.name, ""))] if command.keys else []
    if command.turn_keys:
        words.append(f"({shown_key(keys[f'turn.{command.name}'])})")
    return " ".join(words)
