"""A turn of a conversation as lines: who speaks, what was thought and said, how it ended."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from edgellm.apps.chat.transcript.inline import TAB_CELLS, wrapped
from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.markdown import MarkdownLines
from edgellm.apps.terminal_text import harmless

# Keys in the meta of a style: what a click there does.
FOLD, COPY, BRANCH = "fold", "copy", "branch"
_COPY_LABEL = "  copy "
_HEADER_LINES = 2  # with the blank line after a turn
_WORD = re.compile(r"\S+")
_DETAILS_CELLS = 8  # with less room there are none
_BAR = "│ "  # left of thoughts


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
        """heading, attached, ending: harmless in a terminal; text and thoughts are made so.

        attached: a line for each file. ending: how it was cut short; empty where it was not.
        """
        self.key = key
        self.role = role
        self.heading = heading
        self.ending = ending
        self.is_unfolded = False
        self._attached = tuple(attached)
        self._text = MarkdownLines(text)
        self._thoughts = MarkdownLines(thoughts, _BAR)
        self._words = _count_words("", thoughts)  # of the thoughts

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
        self._words += _count_words(self.thoughts, thoughts)
        self._thoughts.append(thoughts)

    def forget(self) -> None:
        self._text = MarkdownLines(self.text)
        self._thoughts = MarkdownLines(self.thoughts, _BAR)

    def estimate(self, width: int) -> int:
        lines = _HEADER_LINES + len(self._attached) + bool(self.ending) + bool(self.thoughts)
        return lines + self.text.count("\n") + 1 + len(self.text) // max(width, 1)

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        return [
            *self._header(look, width),
            *self._thought(look, width),
            *_notes(look, [f"+ {name}" for name in self._attached], "muted", width),
            *self._body(look, width),
            *_notes(look, [f"■ {self.ending}"] if self.ending else [], "warning", width),
            Strip.blank(1, look.base),
        ]

    def _header(self, look: Look, width: int) -> list[Strip]:
        """One line; the name and then the details give way where there is no room."""
        heading = self.heading
        branches = self._branches(look)
        button = Text(_COPY_LABEL, _acting(look, "muted", COPY, True))
        room = width - branches.cell_len - button.cell_len
        line = Text(heading.name, look["name"] + Style(bold=True), end="")
        line.truncate(max(room, 1), overflow="ellipsis")
        line.append_text(branches)
        room = width - line.cell_len - button.cell_len - 2
        details = Text("", look["muted"])
        if room >= _DETAILS_CELLS:
            details.append(heading.details)
            details.truncate(room, overflow="ellipsis")
        gap = width - line.cell_len - details.cell_len - button.cell_len
        line.append(" " * gap).append_text(details).append_text(button)
        line.truncate(width)
        return _strips(look, line, width)

    def _branches(self, look: Look) -> Text:
        heading, line = self.heading, Text()
        if heading.count > 1:
            line.append("  ").append(" < ", _acting(look, "name", BRANCH, -1))
            line.append(f"{heading.number}/{heading.count}", look["muted"])
            line.append(" > ", _acting(look, "name", BRANCH, 1))
        return line

    def _thought(self, look: Look, width: int) -> list[Strip]:
        if not self.thoughts:
            return []
        arrow = "▾" if self.is_unfolded else "▸"
        doing = "thinking" if self._is_thinking else "thought"
        fold = Text(f"{arrow} {doing}, {self._words} words", _acting(look, "muted", FOLD, True))
        lines = _strips(look, fold, width)
        if self.is_unfolded:
            lines += [*self._thoughts.lines(look.of_thoughts, width), Strip.blank(1, look.base)]
        return lines

    @property
    def _is_thinking(self) -> bool:
        return not self.text and self.ending == "" and not self.heading.details

    def _body(self, look: Look, width: int) -> Sequence[Strip]:
        if self.role != "user":
            return self._text.lines(look, width) if self.text else ()
        rows = self.text.expandtabs(TAB_CELLS).split("\n")
        return [strip for row in rows for strip in _plain(look, row, width)]


class RuleItem:
    """A line across the transcript that says something of what stands above it."""

    def __init__(self, key: int, text: str, body: str = "", part: str = "warning") -> None:
        """body: a longer text below it, in Markdown. part: of the look."""
        self.key = key
        self.mark = ""
        self._label = harmless(text)
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
        rule = Text(f"──── {self._label} ", look[self._part])
        rule.append("─" * (width - rule.cell_len))
        body = self._body.lines(look, width) if self._body.text else ()
        return [*_strips(look, rule, width), *body, Strip.blank(1, look.base)]


def _acting(look: Look, part: str, key: str, value: object) -> Style:
    """The style of something that a click does something with."""
    return look[part] + Style(meta={key: value})


def _count_words(before: str, text: str) -> int:
    """Words that begin in a text which goes on from another."""
    is_inside = bool(before and text) and not before[-1].isspace() and not text[0].isspace()
    return len(_WORD.findall(text)) - is_inside


def _notes(look: Look, lines: Sequence[str], part: str, width: int) -> list[Strip]:
    return [strip for line in lines for strip in _strips(look, Text(line, look[part]), width)]


def _plain(look: Look, line: str, width: int) -> list[Strip]:
    """A line without styles: those that fit are cheap, as somebody may paste very many."""
    if (cells := cell_len(line)) <= width:
        return [Strip([Segment(line, look.base)], cells)]
    return _strips(look, Text(line, look.base), width)


def _strips(look: Look, text: Text, width: int) -> list[Strip]:
    """A text wrapped to lines."""
    text.end = ""
    lines = wrapped(text, look, width)
    return [Strip(line, Segment.get_line_length(line)) for line in lines]
