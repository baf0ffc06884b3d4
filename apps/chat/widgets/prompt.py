"""Where one writes: grows with the text, keeps a history, sends on Enter."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from edgellm.apps.chat.widgets.completions import matching

MOST_LINES = 10
MOST_CHARACTERS = 8 << 20  # of one paste; files are attached instead
# Keys of TextArea that the chat has other uses for.
_TAKEN = frozenset({"ctrl+f", "ctrl+y", "f6", "f7", "ctrl+d", "up", "down", "pageup", "pagedown"})
_MODIFIERS = ("alt+", "ctrl+", "super+", "hyper+", "meta+")  # with these a key writes nothing


def writes(key: events.Key) -> bool:
    """Whether a key stands for a character to be written: terminals send Alt+Z with a "z"."""
    return key.is_printable and bool(key.character) and not key.key.startswith(_MODIFIERS)


def editing_keys() -> list[BindingType]:
    """TextArea's own keys, each with a name that config.toml can give another key."""
    kept: list[BindingType] = []
    for binding in TextArea.BINDINGS:
        assert isinstance(binding, Binding)
        keys = ",".join(key for key in binding.key.split(",") if key not in _TAKEN)
        if keys:
            name = binding.action.replace("(True)", "-select").replace("_", "-")
            kept.append(replace(binding, key=keys, id=f"edit.{name}"))
    return kept


class Prompt(TextArea, inherit_bindings=False):
    """The text that will be sent."""

    DEFAULT_CSS = """
    Prompt {
        height: auto;
        min-height: 3;
        max-height: 12;
        border: round $border-blurred;
        background: $background;
        padding: 0 1;
        &:focus { border: round $border; }
        &.-narrow { border: none; min-height: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", show=False, id="send"),
        Binding(
            "ctrl+j,shift+enter,alt+enter", "newline", "Begin a line", show=False, id="newline"
        ),
        Binding("up", "up", "Up, or an earlier prompt", show=False, id="prompt.up"),
        Binding("down", "down", "Down, or a later prompt", show=False, id="prompt.down"),
        Binding("pageup", "page(-1)", "A page up", show=False, id="prompt.page-up"),
        Binding("pagedown", "page(1)", "A page down", show=False, id="prompt.page-down"),
        Binding("tab", "complete", "Complete a command", show=False, id="prompt.complete"),
        Binding("ctrl+d", "delete_or_leave", "Delete, or leave", show=False, id="prompt.leave"),
        *editing_keys(),
    ]

    class Submitted(Message):
        """Somebody wants this text sent, or this command done; it is out of the prompt already."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Completing(Message):
        """A key for the list of commands: a step in it, or 0 to take the one that is chosen."""

        def __init__(self, step: int, *, is_done: bool = False) -> None:
            """is_done: what is taken is done as well, where it needs no more words."""
            super().__init__()
            self.step = step
            self.is_done = is_done

    class Leaving(Message):
        """Ctrl+D in an empty prompt."""

    class Interrupted(Message):
        """Ctrl+C where nothing is selected."""

    class Refused(Message):
        """A paste was too long."""

    def __init__(self, placeholder: str = "", *, id: str | None = None) -> None:
        super().__init__(
            id=id,
            tab_behavior="focus",
            show_line_numbers=False,
            soft_wrap=True,
            highlight_cursor_line=False,
            placeholder=placeholder,
        )
        self._history: list[str] = []  # latest first
        self._recalled = -1  # which of them is shown; -1 is what was written here
        self._own = ""  # what was written here, while an older text is shown
        self._aside: str | None = None  # what was written here, while another text is edited

    @property
    def is_completing(self) -> bool:
        """Whether keys go to the list of commands: by the text as it is now."""
        return bool(matching(self.text))

    def set_history(self, texts: Sequence[str]) -> None:
        """texts: what was sent before, latest first."""
        self._history = list(texts)
        self._recalled = -1

    def fill(self, text: str) -> None:
        """Put a text in, with the cursor behind it; undoing that brings back what was there."""
        self.replace(text, (0, 0), self.document.end)
        self.move_cursor(self.document.end)

    def lend(self, text: str) -> None:
        """Let another text be edited here; `restore` brings back what was written."""
        if self._aside is None:
            self._aside = self.text
        self.fill(text)

    def restore(self) -> None:
        """Show again what was written before another text was edited."""
        self.fill(self._aside or "")
        self._aside = None

    @property
    def own_text(self) -> str:
        """What was written here, whatever is shown."""
        return self.text if self._aside is None else self._aside

    def give_back(self, text: str) -> None:
        """Put a text that was not taken in front of what is written by now."""
        self.fill(text + self.text)

    def action_send(self) -> None:
        if self.is_completing:
            self.post_message(self.Completing(0, is_done=True))
            return
        text = self.text
        if text.strip() and self._history[:1] != [text]:
            self._history.insert(0, text)
        self._recalled, self._own = -1, ""
        self.clear()
        self.post_message(self.Submitted(text))

    def action_complete(self) -> None:
        if self.is_completing:
            self.post_message(self.Completing(0))
        elif not self.text.startswith("/"):  # a command that is whole needs nothing
            raise SkipAction

    def action_newline(self) -> None:
        self.insert("\n")

    def action_up(self) -> None:
        """A line up; from the first one to what was sent before."""
        if self.is_completing:
            self.post_message(self.Completing(-1))
        elif self.cursor_at_first_line and (not self.text or self._recalled >= 0):
            self._recall(self._recalled + 1)
        else:
            self.action_cursor_up()

    def action_down(self) -> None:
        if self.is_completing:
            self.post_message(self.Completing(1))
        elif self.cursor_at_last_line and self._recalled >= 0:
            self._recall(self._recalled - 1)
        else:
            self.action_cursor_down()

    def action_page(self, step: int) -> None:
        """In a text that is longer than what is seen of it; else whoever is around may do it."""
        if not self.max_scroll_y:
            raise SkipAction
        if step < 0:
            self.action_cursor_page_up()
        else:
            self.action_cursor_page_down()

    def action_copy(self) -> None:
        if self.selected_text:
            self.app.copy_to_clipboard(self.selected_text)
        else:
            self.post_message(self.Interrupted())

    def action_delete_or_leave(self) -> None:
        if self.text:
            self.action_delete_right()
        else:
            self.post_message(self.Leaving())

    async def _on_key(self, event: events.Key) -> None:
        """Do what is bound here before the next key is looked at.

        Textual hands bound keys on from widget to widget, so that characters typed meanwhile would
        overtake them, and a quick Enter send half of a line.
        """
        bound = self._bindings.copy()
        bound.apply_keymap(self.app._keymap)
        for binding in bound.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return
        if not writes(event):
            event.prevent_default()  # TextArea would write the letter of Alt+Z

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()  # the screen would bring it here again
        if len(event.text) > MOST_CHARACTERS:
            event.prevent_default()
            self.post_message(self.Refused())

    def _recall(self, index: int) -> None:
        if not -1 <= index < len(self._history):
            return
        if self._recalled == -1:
            self._own = self.text
        self._recalled = index
        self.fill(self._own if index == -1 else self._history[index])
