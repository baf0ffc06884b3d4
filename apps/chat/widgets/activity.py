"""One line above the prompt that says what is going on, and what one may do about it."""

from rich.text import Text
from textual.widget import Widget

from edgellm.apps.chat.answering.answer import READING, THINKING, WAITING, Answer
from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.widgets import figures
from edgellm.apps.terminal_text import one_line
from edgellm.progress import Progress
from edgellm.units import format_bytes

_BAR_CELLS, _WORK_BAR_CELLS = 12, 8
_STOP = "  Esc stops"


class ActivityLine(Widget):
    """Shows a text; empty when nothing is going on."""

    DEFAULT_CSS = """
    ActivityLine { height: 1; padding: 0 2; color: $text-muted; }
    ActivityLine:ansi { color: ansi_default; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = Text()

    def show(self, text: Text) -> None:
        if text != self._text:
            self._text = text
            self.refresh()

    def render(self) -> Text:
        return self._text


def of_load(engine: Engine, cells: int) -> Text:
    """Where a load is, or why there is no model."""
    if engine.state is State.LOADING:
        text = _of_loading(engine, cells - len(_STOP))
        return text.append(_STOP)
    if engine.state is State.FAILED and engine.error is not None:
        return Text(f"no model: {engine.error}", "red", no_wrap=True, overflow="ellipsis")
    return Text()


def _of_loading(engine: Engine, cells: int) -> Text:
    if engine.fraction is None:  # of the weights; before that the model is found, or made
        return of_work(f"loading {engine.name}", engine.hearing, cells)
    drawn = figures.bar(engine.fraction, _BAR_CELLS)
    return Text(f"loading {engine.name} {drawn} {100 * engine.fraction:.0f} %")


def of_work(doing: str, hearing: Hearing, cells: int) -> Text:
    """Where work is, and how long its phase goes on; the amounts where there is room."""
    if hearing.phase is None:
        return Text(f"{doing} …")
    progress, left_s = hearing.phase.progress, hearing.phase.left_s
    share = progress.done / progress.total if progress.total else 0.0
    bar = f"{figures.bar(share, _WORK_BAR_CELLS)} {100 * share:.0f} %"
    left = "" if left_s is None else f" · {figures.duration(left_s)} left"
    text = Text(f"{doing}: {one_line(progress.phase)} {bar}{left}", no_wrap=True)
    amount = f" · {_amount(progress)}"
    return text.append(amount) if text.cell_len + len(amount) <= cells else text


def _amount(progress: Progress) -> str:
    """How much of a step is done: "12 MiB of 40 MiB"."""
    if progress.unit == "bytes":
        return f"{format_bytes(progress.done)} of {format_bytes(progress.total)}"
    done, total = figures.count(progress.done), figures.count(progress.total)
    return f"{done} of {total} {progress.unit}"


def of_answer(answer: Answer) -> Text:
    """Where an answer is: reading with its cached part, thinking, writing."""
    if answer.phase == WAITING:
        return Text("asking …  Esc stops")
    if answer.phase == READING and answer.prefill is not None:
        return _of_prefill(answer)
    doing = "thinking" if answer.phase == THINKING else "writing"
    rate = answer.tokens_per_s
    speed = "" if rate is None else f" · {figures.rate(rate)} tokens/s"
    return Text(f"{doing} · {figures.count(answer.tokens)} tokens{speed}  Esc stops")


def _of_prefill(answer: Answer) -> Text:
    prefill, left_s = answer.prefill, answer.prefill_left_s
    assert prefill is not None
    drawn = figures.bar(prefill.processed / prefill.total if prefill.total else 1.0, _BAR_CELLS)
    left = "" if left_s is None else f" · {figures.duration(left_s)} left"
    return Text(
        f"reading {figures.count(prefill.processed)}/{figures.count(prefill.total)} tokens "
        f"{drawn} {figures.count(prefill.cached)} cached{left}  Esc stops"
    )
