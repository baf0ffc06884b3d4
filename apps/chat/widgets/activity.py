"""One line above the prompt that says what is going on, and what one may do about it."""

from rich.text import Text
from textual.widget import Widget

from edgellm.apps.chat.answering.answer import READING, THINKING, WAITING, Answer
from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.widgets import figures
from edgellm.progress import Progress
from edgellm.units import format_bytes

_BAR_CELLS = 12


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


def of_load(engine: Engine) -> Text:
    """Where a load is, or why there is no model."""
    if engine.state is State.LOADING:
        return Text.assemble(f"loading {engine.name} ", *_load_progress(engine), "  Esc stops")
    if engine.state is State.FAILED and engine.error is not None:
        return Text(f"no model: {engine.error}", "red", no_wrap=True, overflow="ellipsis")
    return Text()


def _load_progress(engine: Engine) -> list[str]:
    if engine.progress is not None:
        return [of_progress(engine.progress)]
    if engine.fraction is not None:
        return [figures.bar(engine.fraction, _BAR_CELLS), f" {100 * engine.fraction:.0f} %"]
    return ["…"]


def of_progress(progress: Progress) -> str:
    """A step of fetching, measuring or converting: "quantize ━━━── 12 MiB of 40 MiB"."""
    drawn = figures.bar(progress.done / progress.total if progress.total else 0.0, _BAR_CELLS)
    return f"{progress.phase} {drawn} {amount_of(progress)}"


def amount_of(progress: Progress) -> str:
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
