"""One line that says how full the context is, how fast the model is, and what it is."""

from dataclasses import dataclass

from rich.text import Text
from textual.widget import Widget

from edgellm.apps.chat.widgets import figures

_BAR_CELLS = 8
_SEPARATOR = "  "
_AMBER, _RED = 0.5, 0.8  # shares of the context from which it is shown in another colour


@dataclass(frozen=True, slots=True)
class Status:
    """What the line shows; None where it is not known."""

    model: str = ""
    used_tokens: int | None = None  # of the context
    context: int | None = None  # tokens
    tokens_per_s: float | None = None
    first_token_s: float | None = None
    cached_share: float | None = None  # of the last prompt
    resident_bytes: int | None = None  # of the engine's process
    planned_bytes: int | None = None
    badges: tuple[str, ...] = ()  # modes that are on, such as JSON


class StatusBar(Widget):
    """Shows a Status in the cells there are: what matters most comes first and stays longest."""

    DEFAULT_CSS = """
    StatusBar { height: 1; background: $panel; color: $foreground; padding: 0 1; }
    StatusBar:ansi { background: ansi_default; color: ansi_default; text-style: reverse; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._status = Status()

    def show(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            self.refresh()

    def render(self) -> Text:
        return line(self._status, self.size.width)


def line(status: Status, cells: int) -> Text:
    """The parts that fit, the last ones left out first; the model's name stands at the right."""
    text, left = Text(no_wrap=True, overflow="ellipsis"), cells
    for part in parts(status, with_bar=cells >= 60):
        needed = part.cell_len + (len(_SEPARATOR) if text else 0)
        if needed > left:
            break
        if text:
            text.append(_SEPARATOR)
        text.append_text(part)
        left -= needed
    name = Text(status.model, "bold")
    if left > len(_SEPARATOR) + 3:
        name.truncate(left - len(_SEPARATOR), overflow="ellipsis")
        text.append(" " * (left - name.cell_len)).append_text(name)
    return text


def parts(status: Status, *, with_bar: bool) -> list[Text]:
    """Context, speed, time to the first token, modes, cache, memory."""
    shown = [context_part(status, with_bar=with_bar)]
    if status.tokens_per_s is not None:
        shown.append(Text(f"{figures.rate(status.tokens_per_s)} tok/s"))
    if status.first_token_s is not None:
        shown.append(Text(f"first {figures.duration(status.first_token_s)}"))
    shown += [Text(f" {badge} ", "reverse") for badge in status.badges]
    if status.cached_share is not None:
        shown.append(Text(f"cached {100 * status.cached_share:.0f} %"))
    if status.resident_bytes:
        shown.append(Text(f"mem {figures.used(status.resident_bytes, status.planned_bytes)}"))
    return shown


def context_part(status: Status, *, with_bar: bool) -> Text:
    """Used of total, in the colour of how full it is."""
    if status.context is None:
        return Text("ctx -")
    if status.used_tokens is None:
        return Text(f"ctx -/{figures.count(status.context)}")
    filled = status.used_tokens / status.context
    style = "green" if filled < _AMBER else "yellow" if filled < _RED else "red"
    text = Text(f"ctx {figures.count(status.used_tokens)}/{figures.count(status.context)}")
    if with_bar:
        text.append(" ").append(figures.bar(filled, _BAR_CELLS), style)
        text.append(f" {figures.share(status.used_tokens, status.context)}")
    return text
