"""A form of the settings that answers are sampled with."""

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Label, Static

from edgellm.apps.chat.answering.settings import Settings
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.errors import UsageError

_FIELDS = {
    "temperature": "0 always takes the likeliest token",
    "top_k": "0 keeps every token",
    "top_p": "1 keeps every token",
    "min_p": "0 keeps every token",
    "repeat_penalty": "1 is none",
    "seed": "the same seed gives the same text",
    "max_tokens": "of one answer",
    "thinking": "on or off, where it can be chosen",
    "when_full": "ask, or trim the oldest turns",
}


class SettingsDialog(Dialog[Settings]):
    """Empty fields are the model's own choice."""

    DEFAULT_CSS = """
    SettingsDialog > Vertical {
        & > VerticalScroll { height: auto; max-height: 60vh; }
        & > .problem { color: $text-error; height: auto; }
    }
    SettingsDialog Horizontal { height: 1; }
    SettingsDialog Label { width: 15; }
    SettingsDialog Input {
        width: 12; border: none; height: 1; padding: 0; background: $panel;
    }
    SettingsDialog Static.hint { width: 1fr; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "take", "Take them", show=False, priority=True, id="dialog.take"),
        Binding("down", "app.focus_next", "Next", show=False, id="form.next"),
        Binding("up", "app.focus_previous", "Previous", show=False, id="form.previous"),
    ]
    KEYS: ClassVar[str] = "Tab next · Enter or Ctrl+S takes them · Esc leaves"

    def __init__(self, settings: Settings, defaults: Mapping[str, str]) -> None:
        """defaults: the model's own choices."""
        super().__init__("How it answers")
        self._settings = settings
        self._defaults = defaults

    def compose_body(self) -> ComposeResult:
        kept = self._settings.to_json()
        with VerticalScroll(can_focus=False):
            for name, hint in _FIELDS.items():
                with Horizontal():
                    yield Label(name)
                    yield Input(
                        _shown(kept.get(name)),
                        placeholder=self._defaults.get(name, "auto"),
                        id=name,
                        compact=True,
                    )
                    yield Static(Text(hint, no_wrap=True, overflow="ellipsis"), classes="hint")
        yield Static(classes="problem")

    def on_mount(self) -> None:
        self.query(Input).first().focus()

    def on_input_submitted(self) -> None:
        self.action_take()

    def action_take(self) -> None:
        settings = self._settings
        for field in self.query(Input):
            try:
                settings = settings.changed(str(field.id), field.value)
            except UsageError as error:
                self.query_one(".problem", Static).update(Text(str(error)))
                field.focus()
                return
        self.dismiss(settings)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else str(value)
