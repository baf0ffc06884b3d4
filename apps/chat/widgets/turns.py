"""The transcript with the keys for its turns."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from edgellm.apps.chat.commands.table import COMMANDS
from edgellm.apps.chat.transcript.view import Transcript
from edgellm.apps.chat.widgets.prompt import Prompt, writes


def turn_bindings() -> list[BindingType]:
    """The keys that are commands while a turn is selected."""
    return [
        Binding(
            command.turn_keys,
            f"screen.command('{command.name}')",
            command.title,
            show=False,
            id=f"turn.{command.name}",
        )
        for command in COMMANDS
        if command.turn_keys
    ]


class Turns(Transcript):
    """The transcript with keys for its turns; what is typed otherwise goes to the prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [*turn_bindings(), *Transcript.BINDINGS]

    class Strayed(Message):
        """The end of what was said came into sight, or went out of it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._followed = True

    def focus_on_click(self) -> bool:
        """A click leaves the keys to the prompt; a turn is selected by keys."""
        return False

    def settle(self) -> None:
        super().settle()
        if self._followed != self.follows_end:
            self._followed = self.follows_end
            self.post_message(self.Strayed())

    def on_key(self, event: events.Key) -> None:
        """What is typed goes to the prompt, with the keys that were pressed at once behind it."""
        is_behind = self.screen.focused is not self
        is_command = self.cursor is not None and self._is_bound(event.key)
        if is_behind or (writes(event) and not is_command):
            event.stop()
            event.prevent_default()
            prompt = self.screen.query_one(Prompt)
            self.screen.set_focus(prompt)  # before the next key is looked at
            prompt._forward_event(events.Key(event.key, event.character))

    def _is_bound(self, key: str) -> bool:
        bound = self._bindings.copy()
        bound.apply_keymap(self.app._keymap)
        return key in bound.key_to_bindings
