"""What every dialog shares: a frame with a title, a line of keys below, and Esc to leave."""

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from edgellm.apps.chat.hints import shown_key

T = TypeVar("T")


class Dialog(ModalScreen[T | None]):
    """Answers with a T, or None when it was left."""

    DEFAULT_CSS = """
    Dialog {
        align: center middle;
        background: $background 60%;
        &:ansi { background: ansi_default; }
        & > Vertical {
            width: 90%;
            max-width: 110;
            height: auto;
            max-height: 90%;
            border: round $primary;
            padding: 0 1;
            background: $surface;
            & > .keys { color: $text-muted; height: auto; margin-top: 1; }
        }
        &.-narrow > Vertical { width: 100%; max-height: 100%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", show=False, id="dialog.leave")
    ]
    KEYS: ClassVar[str] = "Esc leaves"

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title_text = title

    def compose(self) -> ComposeResult:
        with Vertical() as frame:
            frame.border_title = self._title_text.replace("[", r"\[")
            yield from self.compose_body()
            yield Static(self.as_bound(self.key_line), classes="keys", markup=False)

    @property
    def key_line(self) -> str:
        """What the keys do, below everything else."""
        return self.KEYS

    def as_bound(self, line: str) -> str:
        """A line of keys with those of config.toml in it."""
        for name, key in (("dialog.leave", "Esc"), ("dialog.take", "Ctrl+S")):
            if name in self.app._keymap:
                line = line.replace(key, shown_key(self.app._keymap[name]))
        return line

    def compose_body(self) -> ComposeResult:
        """The widgets between the title and the keys."""
        raise AssertionError(f"{type(self).__name__} lacks compose_body()")
        yield

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Keys that come before its widgets do are passed over."""
        return self.is_mounted

    def action_leave(self) -> None:
        self.dismiss(None)
