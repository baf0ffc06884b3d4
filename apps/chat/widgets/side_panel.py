"""The panel beside a wide transcript: model, memory, KV cache, speed, machine, conversations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList, Sparkline, Static
from textual.widgets.option_list import Option

from edgellm.apps.chat.conversations.records import Listed
from edgellm.apps.chat.widgets import figures
from edgellm.apps.chat.widgets.machine import Machine
from edgellm.apps.terminal_text import one_line
from edgellm.events import MemoryUse

if TYPE_CHECKING:
    from edgellm.plan import MemoryParts, Plan

WIDTH = 40  # cells
_BAR_CELLS = 16
_LABEL = 10


@dataclass(frozen=True, slots=True)
class PanelView:
    """Everything the panel shows but its list of conversations; None where it is not known."""

    model: str = ""
    about: str = ""  # the engine, in a few words
    plan: "Plan | None" = None
    memory: MemoryUse | None = None
    used_tokens: int | None = None
    context: int | None = None
    rates: tuple[float, ...] = ()  # tokens per second, oldest first
    prefill_tokens_per_s: float | None = None
    first_token_s: float | None = None
    cached: tuple[int, int] | None = None  # (tokens of the last prompt that needed no work, all)
    machine: Machine | None = None


class SidePanel(Vertical):
    """Shown at 120 columns and more, or when it is asked for."""

    DEFAULT_CSS = f"""
    SidePanel {{
        width: {WIDTH};
        border-left: solid $border-blurred;
        padding: 0 1;
        background: $background;
        & > Static {{ height: auto; margin-bottom: 1; }}
        & > Sparkline {{ height: 2; margin-bottom: 1; }}
        & > #chats-title {{ margin: 0; color: $text-muted; }}
        & > OptionList {{ height: 1fr; border: none; padding: 0; background: $background; }}
        & > OptionList:focus {{ border: none; background: $surface; }}
    }}
    """

    class Opened(Message):
        """A conversation was chosen from the list."""

        def __init__(self, conversation: int) -> None:
            super().__init__()
            self.conversation = conversation

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._view = PanelView()
        self._shape: tuple[int, str, str] = (0, "", "")
        self._listed: tuple[Listed, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="facts")
        line = Sparkline(id="rates", summary_function=max)
        line.display = False
        yield line
        yield Static("conversations", id="chats-title")
        yield OptionList(id="chats", compact=True)

    def show(self, view: PanelView) -> None:
        if view == self._view:
            return
        if view.rates != self._view.rates:
            line = self.query_one(Sparkline)
            line.data, line.display = list(view.rates), len(view.rates) > 1
        self._view, lines = view, list(facts(view))
        shape = len(lines), view.model, view.about  # what its height follows from
        has_changed, self._shape = shape != self._shape, shape
        self.query_one("#facts", Static).update(Text("\n").join(lines), layout=has_changed)

    def show_chats(self, listed: Sequence[Listed], current: int | None) -> None:
        """The newest conversations, the one that is open marked."""
        if tuple(listed) == self._listed:
            return
        self._listed = tuple(listed)
        rows = self.query_one(OptionList)
        rows.clear_options()
        rows.add_options(
            [Option(_row(one, is_open=one.id == current), id=str(one.id)) for one in listed]
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Opened(int(event.option_id or 0)))


def facts(view: PanelView) -> Iterator[Text]:
    """The lines above the speeds."""
    yield Text(view.model or "no model", "bold")
    if view.about:
        yield Text(view.about, "dim")
    if view.plan is not None:
        yield from _plan(view.plan)
    yield Text()
    yield from _memory(view.memory, None if view.plan is None else view.plan.memory)
    yield from _cache(view)
    if view.machine is not None:
        yield from _machine(view.machine)
    yield Text()
    yield from _speed(view)


def _plan(plan: "Plan") -> Iterator[Text]:
    yield Text(
        f"{plan.bits_per_weight:.2f} bits/weight, K {plan.kv.key_format}, V {plan.kv.value_format}",
        "dim",
    )
    if plan.predicted_kl_divergence is not None:
        yield Text(f"KL divergence {plan.predicted_kl_divergence:.4f}, predicted", "dim")


def _memory(use: MemoryUse | None, planned: "MemoryParts | None") -> Iterator[Text]:
    if use is None and planned is None:
        return
    yield Text(f"{'memory':<{_LABEL}}{'measured':>12}{'planned':>13}", "dim")
    for label, measured_bytes, planned_bytes in _parts(use, planned):
        measured = "-" if measured_bytes is None else figures.memory(measured_bytes)
        expected = "-" if planned_bytes is None else figures.memory(planned_bytes)
        yield Text(f"{label:<{_LABEL}}{measured:>12}{expected:>13}")
    if use is not None and planned is not None:
        share = use.resident_bytes / planned.total_bytes
        style = "green" if share <= 1 else "red"
        yield Text(figures.bar(share, WIDTH - 8), style).append(f" {100 * share:.0f} %")


def _parts(
    use: MemoryUse | None, planned: "MemoryParts | None"
) -> Iterator[tuple[str, int | None, int | None]]:
    names = (("weights", "weights_bytes"), ("KV cache", "kv_cache_bytes"))
    for label, name in (*names, ("compute", "compute_bytes")):
        yield label, getattr(use, name, None), getattr(planned, name, None)
    total = None if planned is None else planned.total_bytes
    yield "total", None if use is None else use.resident_bytes, total


def _cache(view: PanelView) -> Iterator[Text]:
    if view.context is None:
        return
    yield Text()
    used = view.used_tokens or 0
    filled = used / view.context
    line = Text(f"{'context':<{_LABEL}}").append(figures.bar(filled, _BAR_CELLS))
    yield line.append(f" {figures.share(used, view.context)}")
    yield Text(
        f"{'':<{_LABEL}}{figures.count(used)} of {figures.count(view.context)} tokens", "dim"
    )
    if view.memory is not None:
        kv_bytes = view.memory.kv_cache_bytes
        filled_bytes = int(kv_bytes * min(filled, 1.0))
        detail = f"{figures.memory(filled_bytes)} of {figures.memory(kv_bytes)}"
        yield Text(f"{'KV filled':<{_LABEL}}{detail}", "dim")


def _machine(machine: Machine) -> Iterator[Text]:
    yield Text()
    free = f"{figures.memory(machine.free_bytes)} of {figures.memory(machine.total_bytes)}"
    yield Text(f"{'free now':<{_LABEL}}{free}")
    if machine.celsius is not None:
        yield Text(f"{'processor':<{_LABEL}}{machine.celsius:.0f} °C")


def _speed(view: PanelView) -> Iterator[Text]:
    now = f"{figures.rate(view.rates[-1])} tokens/s" if view.rates else "-"
    yield Text(f"{'decode':<{_LABEL}}{now}")
    if view.prefill_tokens_per_s:
        yield Text(f"{'prefill':<{_LABEL}}{figures.rate(view.prefill_tokens_per_s)} tokens/s")
    if view.first_token_s is not None:
        yield Text(f"{'first':<{_LABEL}}after {figures.duration(view.first_token_s)}")
    if view.cached is not None:
        cached, total = view.cached
        yield Text(
            f"{'cached':<{_LABEL}}{figures.count(cached)} of {figures.count(total)} "
            f"({figures.share(cached, total)})"
        )


def _row(listed: Listed, *, is_open: bool) -> Text:
    mark = "▸ " if is_open else "  "
    title = one_line(listed.title or listed.excerpt or "(empty)")
    return Text(mark + title, "bold" if is_open else "", no_wrap=True, overflow="ellipsis")
