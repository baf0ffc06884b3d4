"""What is said above the prompt: what is going on, what one may do about it, what went wrong."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.geometry import Size
from textual.widget import Widget

from edgellm.apps.chat.answering.answer import READING, THINKING, WAITING, Answer
from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.hearing import Hearing, Phase
from edgellm.apps.chat.hints import Keys, shown_key
from edgellm.apps.chat.widgets import figures
from edgellm.apps.terminal_text import harmless, one_line
from edgellm.progress import Progress
from edgellm.units import format_bytes

_BAR_CELLS, _WORK_BAR_CELLS = 12, 8
_GAP_CELLS = 2  # before what stands at the right
_MOST_LINES = 6  # of an error; a terminal has little room


class ActivityLine(Widget):
    """One line, or as many as something takes that has to be read; empty where nothing goes on."""

    DEFAULT_CSS = """
    ActivityLine { height: auto; padding: 0 2; color: $text-muted; }
    ActivityLine:ansi { color: ansi_default; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = Text()
        self._asides: Sequence[str] = ()

    @property
    def cells(self) -> int:
        """Of a line."""
        return self.content_size.width

    def show(self, text: Text, asides: Sequence[str] = ()) -> None:
        """Show a text, wrapped where it is long.

        asides: the first for which there is room stands at the right of its only line.
        """
        if (text, asides) == (self._text, self._asides):
            return
        before = self._height(self.cells)
        self._text, self._asides = text, asides
        self.refresh(layout=self._height(self.cells) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._height(width)

    def render(self) -> Text:
        lines = self._lines(self.cells)
        room = self.cells - lines[0].cell_len
        for aside in self._asides if len(lines) == 1 else ():
            gap = room - cell_len(aside)
            if gap >= _GAP_CELLS:
                lines[0].append(" " * gap).append(aside, "bold")
                break
        return Text("\n").join(lines)

    def _height(self, width: int) -> int:
        return len(self._lines(width))

    def _lines(self, width: int) -> list[Text]:
        """At most _MOST_LINES; one where there is nothing."""
        width = max(width, 1)
        if self._text.cell_len <= width and "\n" not in self._text.plain:
            return [self._text.copy()]
        lines = list(self._text.wrap(self.app.console, width))
        for line in lines:
            line.rstrip()
        if len(lines) > _MOST_LINES:
            del lines[_MOST_LINES:]
            lines[-1].truncate(width - 1)
            lines[-1].append("…")
        return lines


def fitting(candidates: Sequence[str], cells: int) -> str:
    """The first that fits in a line; the last where none does."""
    return next((one for one in candidates if cell_len(one) <= cells), candidates[-1])


def of_load(engine: Engine, cells: int, keys: Keys) -> Text:
    """Where a load is, or why there is no model; what one may do about it."""
    choose = shown_key(keys["model"])
    if engine.state is State.LOADING:
        stops = _stops(keys)
        return _of_loading(engine, cells - cell_len(stops)).append(stops)
    if engine.state is State.FAILED and engine.error is not None:
        if engine.was_stopped:
            return Text(f"the load was stopped; {choose} chooses a model, /reload tries again")
        why = harmless(str(engine.error))
        return Text(f"no model: {why} · {choose} chooses another, /reload tries again", "red")
    if engine.state is State.EMPTY:
        return Text(f"no model is loaded; {choose} chooses one")
    return Text()


def _of_loading(engine: Engine, cells: int) -> Text:
    doing = f"loading {one_line(engine.name)}"
    if engine.fraction is None:  # of the weights; before that the model is found, or made
        return of_work(doing, engine.hearing, cells)
    share = f"{100 * engine.fraction:.0f} %"
    drawn = f"{figures.bar(engine.fraction, _BAR_CELLS)} {share}"
    return Text(fitting((f"{doing} {drawn}", f"loading {drawn}", f"loading {share}"), cells))


def of_work(doing: str, hearing: Hearing, cells: int) -> Text:
    """Where work is, and how long its phase goes on: as much of it as fits in a line.

    doing: its first word says enough where there is no more room.
    """
    if hearing.phase is None:
        said = [f"{doing} …", f"{doing.split()[0]} …"]
    else:
        said = _of_phase(hearing.phase)
        said[:0] = [f"{doing}: {one}" for one in said[:2]]
    return Text(fitting(said, cells), no_wrap=True)


def _of_phase(phase: Phase) -> list[str]:
    """The longest first."""
    progress, left_s = phase.progress, phase.left_s
    share = progress.done / progress.total if progress.total else 0.0
    bar = f"{figures.bar(share, _WORK_BAR_CELLS)} {100 * share:.0f} %"
    left = "" if left_s is None else f" · {figures.duration(left_s)} left"
    name = one_line(progress.phase)
    with_amount = f"{name} {bar}{left} · {_amount(progress)}"
    return [with_amount, f"{name} {bar}{left}", f"{name} {bar}", bar]


def _amount(progress: Progress) -> str:
    """How much of a step is done: "12 MiB of 40 MiB"."""
    if progress.unit == "bytes":
        return f"{format_bytes(progress.done)} of {format_bytes(progress.total)}"
    done, total = figures.count(progress.done), figures.count(progress.total)
    return f"{done} of {total} {progress.unit}"


def of_answer(answer: Answer, cells: int, keys: Keys, aside: str = "") -> Text:
    """Where an answer is: reading with its cached part, thinking, writing; how to stop it.

    aside: what the answer is for, where it becomes no turn.
    """
    if answer.phase == WAITING:
        said = ["asking …"]
    elif answer.phase == READING and answer.prefill is not None:
        said = _of_prefill(answer)
    else:
        doing = "thinking" if answer.phase == THINKING else "writing"
        rate = answer.tokens_per_s
        speed = "" if rate is None else f" · {figures.rate(rate)} tokens/s"
        said = [f"{doing} · {figures.counted(answer.tokens, 'token')}{speed}", doing + speed, doing]
    if aside:
        said = [*(f"{aside}: {one}" for one in said), aside]
    stops = _stops(keys)
    return Text(fitting(said, cells - cell_len(stops)) + stops)


def _stops(keys: Keys) -> str:
    return f"  {shown_key(keys['stop'])} stops"


def _of_prefill(answer: Answer) -> list[str]:
    """The longest first."""
    prefill, left_s = answer.prefill, answer.prefill_left_s
    assert prefill is not None
    drawn = figures.bar(prefill.processed / prefill.total if prefill.total else 1.0, _BAR_CELLS)
    left = "" if left_s is None else f" · {figures.duration(left_s)} left"
    doing = f"reading {figures.count(prefill.processed)}/{figures.count(prefill.total)}"
    cached = f"{figures.count(prefill.cached)} cached"
    return [
        f"{doing} tokens {drawn} {cached}{left}",
        f"{doing} tokens · {cached}{left}",
        f"{doing} tokens{left}",
        doing,
        "reading",
    ]
