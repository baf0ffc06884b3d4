"""A turn of a conversation as lines: who speaks, what was thought and said, how it ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.markdown import MarkdownLines

# Keys in the meta of a style: what a click there does.
FOLD, COPY, BRANCH = "fold", "copy", "branch"
_COPY_LABEL = "  copy "
_HEADER_LINES = 2  # with the blank line after a turn


class Item(Protocol):
    """Something of the transcript that takes lines."""

    @property
    def key(self) -> int:
        """What it stands for: a turn's id, or a negative number of its own."""
        ...

    @property
    def mark(self) -> str:
        """The part of the look that the bar on its left has; empty for none."""
        ...

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        """Laid out, `width` cells at most."""
        ...

    def estimate(self, width: int) -> int:
        """About how many lines that will be, known at once."""
        ...

    def forget(self) -> None:
        """Drop what was laid out; it is made again when it is seen again."""
        ...


@dataclass(frozen=True, slots=True)
class Heading:
    """The first line of a turn."""

    name: str  # who speaks
    details: str = ""  # what the answer took
    number: int = 1  # among the turns that could stand here, from 1
    count: int = 1


class TurnItem:
    """One turn; its text and thoughts may grow at their ends."""

    def __init__(
        self,
        key: int,
        role: str,
        heading: Heading,
        text: str,
        *,
        thoughts: str = "",
        attached: Sequence[str] = (),
        ending: str = "",
    ) -> None:
        """text, thoughts, heading, attached: harmless in a terminal.

        attached: a line for each file. ending: how it was cut short; empty where it was not.
        """
        self.key = key
        self.role = role
        self.heading = heading
        self.ending = ending
        self.is_unfolded = False
        self._attached = tuple(attached)
        self._text = MarkdownLines(text)
        self._thoughts = MarkdownLines(thoughts)

    @property
    def mark(self) -> str:
        return "user" if self.role == "user" else ""

    @property
    def text(self) -> str:
        return self._text.text

    @property
    def thoughts(self) -> str:
        return self._thoughts.text

    @property
    def codes(self) -> list[str]:
        """The text of each block of code, in order."""
        return [] if self.role == "user" else self._text.codes

    def append(self, text: str, thoughts: str = "") -> None:
        self._text.append(text)
        self._thoughts.append(thoughts)

    def forget(self) -> None:
        self._text = MarkdownLines(self.text)
        self._thoughts = MarkdownLines(self.thoughts)

    def estimate(self, width: int) -> int:
        lines = _HEADER_LINES + len(self._attached) + bool(self.ending) + bool(self.thoughts)
        return lines + self.text.count("\n") + 1 + len(self.text) // max(width, 1)

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        return [
            *self._header(look, width),
            *self._thought(look, width),
            *self._body(look, width),
            *self._footer(look, width),
            Strip.blank(1, look.base),
        ]

    def _header(self, look: Look, width: int) -> Iterator[Strip]:
        heading = self.heading
        line = Text()
        line.append(heading.name, look["name"] + Style(bold=True))
        if heading.count > 1:
            line.append("  ")
            line.append(" < ", look["name"] + Style(meta={BRANCH: -1}))
            line.append(f"{heading.number}/{heading.count}", look["muted"])
            line.append(" > ", look["name"] + Style(meta={BRANCH: 1}))
        button = Text(_COPY_LABEL, look["muted"] + Style(meta={COPY: True}))
        room = width - line.cell_len - button.cell_len - 2
        details = Text(heading.details, look["muted"])
        if details.cell_len > room:
            details.truncate(max(room, 0), overflow="ellipsis")
        gap = max(width - line.cell_len - details.cell_len - button.cell_len, 1)
        line.append(" " * gap).append_text(details).append_text(button)
        yield from _strips(look, line, width)

    def _thought(self, look: Look, width: int) -> Iterator[Strip]:
        if not self.thoughts:
            return
        words = len(self.thoughts.split())
        arrow = "▾" if self.is_unfolded else "▸"
        style = look["muted"] + Style(meta={FOLD: True})
        doing = "thinking" if self._is_thinking else "thought"
        yield from _strips(look, Text(f"{arrow} {doing}, {words} words", style), width)
        if self.is_unfolded:
            bar = Segment("│ ", look["muted"])
            for strip in self._thoughts.lines(look, width - 2):
                yield Strip([bar, *strip.apply_style(look["thought"])])
            yield Strip.blank(1, look.base)

    @property
    def _is_thinking(self) -> bool:
        return not self.text and self.ending == "" and not self.heading.details

    def _body(self, look: Look, width: int) -> Iterator[Strip]:
        for name in self._attached:
            yield from _strips(look, Text(f"+ {name}", look["muted"]), width)
        if self.role == "user":
            yield from _strips(look, Text(self.text), width)
        elif self.text:
            yield from self._text.lines(look, width)

    def _footer(self, look: Look, width: int) -> Iterator[Strip]:
        if self.ending:
            yield from _strips(look, Text(f"■ {self.ending}", look["warning"]), width)


class RuleItem:
    """A line across the transcript that says something of what stands above it."""

    def __init__(self, key: int, text: str, body: str = "", part: str = "warning") -> None:
        """body: a longer text below it, in Markdown. part: of the look."""
        self.key = key
        self.mark = ""
        self._label = text
        self._body = MarkdownLines(body)
        self._part = part

    @property
    def text(self) -> str:
        return self._body.text or self._label

    def forget(self) -> None:
        self._body = MarkdownLines(self._body.text)

    def estimate(self, width: int) -> int:
        return 3 + len(self._body.text) // max(width, 1)

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        label = f" {self._label} "
        rest = max(width - len(label) - 4, 0)
        rule = Text(f"────{label}{'─' * rest}", look[self._part])
        body = self._body.lines(look, width) if self._body.text else ()
        return [*_strips(look, rule, width), *body, Strip.blank(1, look.base)]


def _strips(look: Look, text: Text, width: int) -> Iterator[Strip]:
    """A text wrapped to lines."""
    for line in look.render(text, width, look.base):
        yield Strip(line, width)
