"""The transcript with the keys for its turns."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from edgellm.apps.chat.commands.table import COMMANDS
from edgellm.apps.chat.transcript.view import Transcript
from edgellm.apps.chat.widgets.prompt import Prompt


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

    def focus_on_click(self) -> bool:
        """A click leaves the keys to the prompt; a turn is selected by keys."""
        return False

    def on_key(self, event: events.Key) -> None:
        is_command = self.cursor is not None and self._is_bound(event.key)
        if event.is_printable and event.character and not is_command:
            event.stop()
            event.prevent_default()
            prompt = self.screen.query_one(Prompt)
            prompt.focus()
            prompt.insert(event.character)

    def _is_bound(self, key: str) -> bool:
        bound = self._bindings.copy()
        bound.apply_keymap(self.app._keymap)
        return key in bound.key_to_bindings
