"""Writing a longer text, such as a system prompt or a JSON Schema."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static, TextArea

from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.errors import EdgeLLMError

Check = Callable[[str], object]  # raises an EdgeLLMError for what cannot be used


def anything(text: str) -> None:
    """The check of a text that may be anything."""


class TextDialog(Dialog[str]):
    """A text of several lines; Ctrl+S takes it."""

    DEFAULT_CSS = """
    TextDialog > Vertical {
        & > TextArea { height: 40vh; border: none; padding: 0; background: $surface; }
        & > .note { color: $text-muted; height: auto; margin-bottom: 1; }
        & > .problem { color: $text-error; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "take", "Take it", show=False, priority=True, id="dialog.take")
    ]
    KEYS: ClassVar[str] = "Ctrl+S takes it · Esc leaves"

    def __init__(self, title: str, text: str, note: str = "", check: Check = anything) -> None:
        super().__init__(title)
        self._text = text
        self._note = note
        self._check = check

    def compose_body(self) -> ComposeResult:
        if self._note:
            yield Static(Text(self._note), classes="note")
        yield TextArea(self._text, soft_wrap=True, tab_behavior="focus", compact=True)
        yield Static(classes="problem")

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)
        area.focus()

    def action_take(self) -> None:
        text = self.query_one(TextArea).text
        try:
            self._check(text)
        except EdgeLLMError as error:
            self.query_one(".problem", Static).update(Text(str(error)))
            return
        self.dismiss(text)


class LineDialog(Dialog[str]):
    """One line; Enter takes it."""

    DEFAULT_CSS = """
    LineDialog > Vertical {
        & > Input { border: none; height: 1; padding: 0; background: $surface; }
        & > .note { color: $text-muted; height: auto; margin-bottom: 1; }
        & > .problem { color: $text-error; height: auto; }
    }
    """
    KEYS: ClassVar[str] = "Enter takes it · Esc leaves"

    def __init__(
        self,
        title: str,
        text: str = "",
        *,
        note: str = "",
        placeholder: str = "",
        check: Check = anything,
    ) -> None:
        super().__init__(title)
        self._text = text
        self._note = note
        self._placeholder = placeholder
        self._check = check

    def compose_body(self) -> ComposeResult:
        if self._note:
            yield Static(Text(self._note), classes="note")
        yield Input(self._text, placeholder=self._placeholder, compact=True)
        yield Static(classes="problem")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self._check(event.value)
        except EdgeLLMError as error:
            self.query_one(".problem", Static).update(Text(str(error)))
            return
        self.dismiss(event.value)
