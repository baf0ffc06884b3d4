"""Choosing one of many: a list that a few typed letters make short."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from edgellm.apps.chat.dialogs.dialog import Dialog

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """One row of a picker."""

    value: T
    row: Text  # what is shown; may have several lines
    key: str = ""  # what typed letters are looked for in; the row's text where empty
    is_fixed: bool = False  # stays, whatever is typed

    @property
    def searched(self) -> str:
        return (self.key or self.row.plain).lower()


class Picker(Dialog[T]):
    """Type to narrow the list down, Enter to choose."""

    DEFAULT_CSS = """
    Picker > Vertical {
        & > Input { border: none; height: 1; padding: 0; background: $surface; }
        & > OptionList {
            height: auto; max-height: 60vh; border: none; padding: 0; background: $surface;
            margin-top: 1;
        }
        & > OptionList:focus { border: none; }
        & > OptionList.-cut { text-wrap: nowrap; text-overflow: ellipsis; }
        & > .note { color: $text-muted; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "step(1)", "Down", show=False, priority=True, id="picker.down"),
        Binding("up", "step(-1)", "Up", show=False, priority=True, id="picker.up"),
        Binding("pagedown", "step(10)", "Page down", show=False, id="picker.page-down"),
        Binding("pageup", "step(-10)", "Page up", show=False, id="picker.page-up"),
    ]
    KEYS: ClassVar[str] = "Type to search · ↑↓ choose · Enter takes it · Esc leaves"

    def __init__(
        self,
        title: str,
        choices: Sequence[Choice[T]],
        *,
        note: str = "",
        empty: str = "Nothing is here yet.",
        has_search: bool = True,
        pointed: int | None = 0,
    ) -> None:
        """note: said above the list. empty: said in place of it.

        pointed: the row that Enter takes at first. None where nobody has asked for this: an Enter
        which was meant for something else takes nothing then.
        """
        super().__init__(title)
        self._choices = list(choices)
        self._shown = self._choices
        self._note = note
        self._empty = empty
        self._has_search = has_search
        self._pointed = pointed

    @property
    def key_line(self) -> str:
        return self.KEYS if self._has_search else "↑↓ choose · Enter takes it · Esc leaves"

    def compose_body(self) -> ComposeResult:
        if self._note:
            yield Static(Text(self._note), classes="note")
        if self._has_search:
            yield Input(placeholder="search", id="search", compact=True)
        yield OptionList(id="rows")

    def on_mount(self) -> None:
        self._fill(self._pointed)
        if not self._has_search:
            self.query_one(OptionList).focus()

    def on_input_changed(self) -> None:
        self._narrow()
        self._fill()

    def on_input_submitted(self) -> None:
        self._choose(self.query_one(OptionList).highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(event.option_index)

    @property
    def typed(self) -> str:
        """What is searched for."""
        return self.query_one(Input).value if self._has_search else ""

    @property
    def pointed(self) -> T | None:
        """What Enter would take."""
        index = self.query_one(OptionList).highlighted
        return None if index is None or index >= len(self._shown) else self._shown[index].value

    def show_choices(self, choices: Sequence[Choice[T]], pointed: T | None) -> None:
        """Show other choices; Enter would take `pointed`, or the first where that is gone.

        The same choices with other rows are drawn where they stand.
        """
        before = self._shown
        self._choices = list(choices)
        self._narrow()
        values = [choice.value for choice in self._shown]
        if values != [choice.value for choice in before]:
            self._fill(values.index(pointed) if pointed in values else 0)
            return
        rows = self.query_one(OptionList)
        for index, (old, new) in enumerate(zip(before, self._shown, strict=True)):
            if old.row != new.row:
                rows.replace_option_prompt_at_index(index, new.row)

    def take(self, value: T) -> None:
        """Answer with what was chosen."""
        self.dismiss(value)

    def action_step(self, step: int) -> None:
        rows = self.query_one(OptionList)
        if self._shown:
            before = rows.highlighted
            at = (-1 if step > 0 else 0) + step if before is None else before + step
            last = len(self._shown) - 1
            rows.highlighted = min(max(at, 0), last) if abs(step) > 1 else at % (last + 1)

    def _narrow(self) -> None:
        words = self.typed.lower().split()
        self._shown = [
            choice
            for choice in self._choices
            if choice.is_fixed or all(word in choice.searched for word in words)
        ]

    def _fill(self, at: int | None = 0) -> None:
        rows = self.query_one(OptionList)
        rows.clear_options()
        if not self._shown:
            why = f"Nothing has “{self.typed}”." if self._choices else self._empty
            rows.add_option(Option(Text(why, "dim"), disabled=True))
            return
        rows.set_class(any(choice.row.no_wrap for choice in self._shown), "-cut")
        rows.add_options([Option(choice.row) for choice in self._shown])
        rows.highlighted = at

    def _choose(self, index: int | None) -> None:
        if index is not None and index < len(self._shown):
            self.take(self._shown[index].value)


def confirm(title: str, note: str, yes: str, no: str = "No, leave it as it is") -> Picker[bool]:
    """Ask before something that cannot be undone; "no" comes first. note: wraps, unlike a title."""
    return Picker(
        title,
        [Choice(False, Text(no)), Choice(True, Text(yes))],
        note=note,
        has_search=False,
    )
