"""The fields of a conversion, with what is known of each beside it."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from edgellm.apps.chat.making.looking import Defaults, Looked
from edgellm.apps.chat.making.order import Order, read_checkpoint, read_context, read_memory
from edgellm.apps.chat.making.subject import Subject
from edgellm.apps.chat.widgets import figures
from edgellm.apps.chat.widgets.toggle import Toggle
from edgellm.apps.cli.planning import STATIC
from edgellm.errors import UsageError
from edgellm.units import exact_size, format_bytes


class ConvertForm(Vertical):
    """Owns what was typed; Changed says that it is no longer what it was."""

    DEFAULT_CSS = """
    ConvertForm { height: auto; }
    ConvertForm Horizontal { height: 1; }
    ConvertForm Label { width: 12; }
    ConvertForm Input { border: none; height: 1; padding: 0; background: $panel; width: 14; }
    ConvertForm #checkpoint { width: 1fr; }
    ConvertForm Toggle { width: 14; }
    ConvertForm .hint { color: $text-muted; width: 1fr; height: 1; padding: 0 1; }
    ConvertForm #about { padding: 0 0 0 12; }
    """

    class Changed(Message):
        """Somebody has changed a field."""

    def __init__(self, checkpoint: str, modes: tuple[str, ...]) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._modes = modes
        self._defaults: Defaults | None = None
        self._is_mode_typed = False  # chosen by a person: no default replaces it

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label("checkpoint")
            yield Input(
                self._checkpoint, placeholder="a folder, or org/name", id="checkpoint", compact=True
            )
        yield Static(id="about", classes="hint")
        for name, label in (("memory", "memory"), ("context", "context")):
            with Horizontal():
                yield Label(label)
                yield Input(id=name, compact=True)
                yield Static(id=f"{name}-hint", classes="hint")
        with Horizontal():
            yield Label("sensitivity")
            yield Toggle(self._modes, self._modes[0], id="mode")
            yield Static(id="mode-hint", classes="hint")

    @property
    def checkpoint(self) -> str:
        """As it stands there."""
        return self.first.value

    @property
    def typed(self) -> tuple[str, ...]:
        """Everything that stands in the fields."""
        return (*(field.value for field in self.query(Input)), self.mode)

    @property
    def first(self) -> Input:
        return self.query_one("#checkpoint", Input)

    @property
    def mode(self) -> str:
        return self.query_one(Toggle).chosen

    def order(self) -> Order:
        """What the fields say. Raises UsageError, with the field in focus that cannot be read."""
        assert self._defaults is not None, "nothing is asked before they are known"
        defaults, field = self._defaults, self.query_one("#checkpoint", Input)
        try:
            checkpoint = read_checkpoint(field.value)
            field = self.query_one("#memory", Input)
            memory_bytes = read_memory(field.value, defaults.memory_bytes)
            field = self.query_one("#context", Input)
            context = read_context(field.value, defaults.context)
        except UsageError:
            field.focus()
            raise
        return Order(
            checkpoint, memory_bytes, context, self.mode, defaults.threads, defaults.offline
        )

    def show_defaults(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self.query_one("#memory", Input).placeholder = exact_size(defaults.memory_bytes)
        self._hint("memory", defaults.memory_source)

    def show_looked(self, looked: Looked) -> None:
        subject = looked.subject
        about = looked.about if subject is None else of(subject)
        self.query_one("#about", Static).update(_line(about))
        if not self._is_mode_typed and looked.mode in self._modes:
            self.query_one(Toggle).choose(looked.mode)
        self._hint("mode", _of_mode(self.mode, subject))
        context = None if self._defaults is None else self._defaults.context
        shown = context or (subject and subject.context)
        self.query_one("#context", Input).placeholder = str(shown or "the model's")
        most = f", {figures.count(subject.longest_context)} at most" if subject else ""
        self._hint("context", f"tokens{most}")

    def on_input_changed(self) -> None:
        self.post_message(self.Changed())

    def on_toggle_turned(self) -> None:
        self._is_mode_typed = True
        self.post_message(self.Changed())

    def _hint(self, name: str, text: str) -> None:
        self.query_one(f"#{name}-hint", Static).update(_line(text))


def of(subject: Subject) -> str:
    """What is known of a checkpoint."""
    return (
        f"{subject.family}, {figures.count(subject.parameters)} parameters, "
        f"{format_bytes(subject.file_bytes)}"
    )


def _of_mode(mode: str, subject: Subject | None) -> str:
    if mode == STATIC:
        return "from a table, at once"
    took = "takes a while" if subject is None else f"about {subject.duration}"
    return f"{took}, once; better"


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
