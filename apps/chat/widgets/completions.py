"""The commands that begin like what is written, above the prompt."""

from collections.abc import Sequence

from rich.text import Text
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from edgellm.apps.chat.commands.table import BY_NAME, COMMANDS, Command

MOST_ROWS = 8


class Completions(OptionList, can_focus=False):
    """Shown while a command's name is being written."""

    DEFAULT_CSS = """
    Completions {
        display: none;
        height: auto;
        max-height: 8;
        border: none;
        background: $panel;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &.-shown { display: block; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._written = ""  # what is suggested for

    def suggest(self, written: str) -> None:
        """Show what fits, from its beginning; nothing changes where the text is the same."""
        if written == self._written:
            return
        self._written = written
        found = matching(written)
        self.set_class(bool(found), "-shown")
        self.clear_options()
        self.add_options([Option(_row(command), id=command.name) for command in found])
        if found:
            self.highlighted = 0

    def step(self, step: int) -> None:
        if self.option_count:
            self.highlighted = ((self.highlighted or 0) + step) % self.option_count

    @property
    def chosen(self) -> Command | None:
        if self.highlighted is None:
            return None
        name = self.get_option_at_index(self.highlighted).id
        return BY_NAME[str(name)]


def matching(written: str) -> Sequence[Command]:
    """Commands for what is written: those that begin so, then those that contain it.

    None for a whole name, which Enter does.
    """
    part = written[1:].lower()
    if not written.startswith("/") or (part and not part.replace("-", "a").isalpha()):
        return ()
    if part in BY_NAME:
        return ()
    first = [command for command in COMMANDS if command.name.startswith(part)]
    return (*first, *(one for one in COMMANDS if part in one.name and one not in first))


def _row(command: Command) -> Text:
    row = Text(f"/{command.name} {command.argument}".ljust(24), no_wrap=True)
    return row.append(f" {command.title}", "dim")
