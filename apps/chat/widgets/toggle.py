"""One of a few words, changed by a key: for fields with few answers."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget


class Toggle(Widget, can_focus=True):
    """Shows the word that is chosen; Space and the arrows choose the next one."""

    DEFAULT_CSS = """
    Toggle { height: 1; background: $panel; }
    Toggle:focus { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right", "turn(1)", "Next", show=False, id="toggle.next"),
        Binding("left", "turn(-1)", "Previous", show=False, id="toggle.previous"),
    ]

    class Turned(Message):
        """Somebody has chosen another word."""

    def __init__(self, words: Sequence[str], chosen: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._words = list(words)
        self._chosen = chosen

    @property
    def chosen(self) -> str:
        return self._chosen

    def choose(self, word: str) -> None:
        """Show another word; nobody is told."""
        assert word in self._words
        self._chosen = word
        self.refresh()

    def render(self) -> Text:
        return Text(f"◂ {self._chosen} ▸", no_wrap=True, overflow="ellipsis")

    def on_click(self, event: events.Click) -> None:
        self.action_turn(1)

    def action_turn(self, step: int) -> None:
        at = self._words.index(self._chosen) + step
        self.choose(self._words[at % len(self._words)])
        self.post_message(self.Turned())
