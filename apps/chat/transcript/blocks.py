"""The structure of Markdown, line by line, as the CommonMark specification describes it.

Some things are otherwise than there. So that no later line changes what stands far above it,
definitions of references are text like any other, and a paragraph that was cut for its length
becomes no heading. A single dash below a paragraph makes no heading of it, as a list is more likely
to begin there. And HTML is text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgellm.apps.chat.transcript.leaves import Leaf, OpenCode, OpenTable, OpenWords
from edgellm.apps.chat.transcript.pieces import Margin, Piece, Place, Rule, Words
from edgellm.apps.chat.transcript.scanning import (
    CODE_INDENT,
    SourceLine,
    cells_of,
    column_justify,
    fence,
    heading,
    is_rule,
    take_item_marker,
    take_quote_marker,
    underline_level,
)

MAX_DEPTH = 24  # lists count twice; deeper marks are text
_BAR = ("▌ ", "muted")
_BULLETS = "•◦▪"


@dataclass(slots=True)
class Quote:
    has_child: bool = False


@dataclass(slots=True)
class List:
    style: str
    number: int | None  # of the next item; None for bullets
    has_child: bool = False


@dataclass(slots=True)
class Item:
    columns: int  # its content is indented by
    marker: str
    is_shown: bool = False  # the marker stands before some line already
    has_child: bool = False


Container = Quote | List | Item


class Blocks:
    """Reads lines; hands out pieces once no later line can change them."""

    def __init__(self) -> None:
        self._open: list[Container] = []
        self._leaf: Leaf | None = None  # in the innermost of those
        self._pieces: list[Piece] = []  # not handed out yet
        self._codes = 0
        self._above: int | None = None  # containers that hold the last leaf too; None at the top
        self._is_after_blank = False

    def read(self, text: str) -> list[Piece]:
        """A line, or the first part of a long one."""
        self._read(SourceLine(text))
        return self._taken()

    def read_on(self, text: str) -> list[Piece]:
        """The next part of the line that was read last."""
        if isinstance(self._leaf, OpenWords | OpenCode):
            self._pieces += self._leaf.go_on(text)
        elif text.strip():
            self._close(len(self._open))
            self._leaf = OpenWords(self._place(), [text.lstrip()])
        return self._taken()

    def finish(self) -> list[Piece]:
        """What is left at the end of the text."""
        self._close(0)
        return self._taken()

    def copy(self) -> "Blocks":
        copied = Blocks()
        copied._open = [replace(one) for one in self._open]
        copied._leaf = None if self._leaf is None else self._leaf.copy()
        copied._codes, copied._above = self._codes, self._above
        copied._is_after_blank = self._is_after_blank
        return copied

    def _taken(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def _read(self, line: SourceLine) -> None:
        depth = self._depth_of(line)
        if depth == len(self._open) and isinstance(self._leaf, OpenCode) and self._is_code(line):
            return
        while not line.is_blank and line.indent < CODE_INDENT:
            if self._begins_leaf(line, depth):
                return
            if not self._begins_container(line, depth):
                break
            depth = len(self._open)
        self._read_text(line, depth)

    def _depth_of(self, line: SourceLine) -> int:
        """How many containers a line goes on with; their marks are read."""
        for depth, one in enumerate(self._open):
            if not _goes_on(one, line):
                return depth
        return len(self._open)

    def _is_code(self, line: SourceLine) -> bool:
        """Whether the line belongs to the open block of code, which has it then."""
        assert isinstance(self._leaf, OpenCode)
        if self._leaf.is_closed_by(line):
            self._close(len(self._open))
        elif self._leaf.takes(line):
            self._is_after_blank = not self._leaf.fence and line.is_blank
            self._pieces += self._leaf.add(line)
        else:
            return False
        return True

    # What begins

    def _begins_container(self, line: SourceLine, depth: int) -> bool:
        if len(self._open) >= MAX_DEPTH:
            return False
        if take_quote_marker(line):
            self._close_for_other(depth)
            self._push(Quote())
            return True
        marker = take_item_marker(line, interrupts=self._is_in_paragraph(depth))
        if marker is None:
            return False
        self._close(depth)
        last = self._open[-1] if self._open else None
        if not isinstance(last, List) or last.style != marker.style:
            self._close_for_other(depth)
            last = List(marker.style, marker.number)
            self._push(last)
        self._push(Item(marker.columns, self._marker(last)))
        return True

    def _marker(self, list_: List) -> str:
        if list_.number is None:
            lists = sum(isinstance(one, List) and one.number is None for one in self._open)
            return f" {_BULLETS[(lists - 1) % len(_BULLETS)]} "
        list_.number += 1
        return f"{list_.number - 1:>2}{list_.style} "

    def _begins_leaf(self, line: SourceLine, depth: int) -> bool:
        content = line.content
        if begun := heading(content):
            self._close_for_other(depth)
            self._pieces.append(Words(self._place(), begun[1], begun[0]))
        elif opened := fence(content):
            self._close_for_other(depth)
            mark, info = opened
            language = info.split(maxsplit=1)[0] if info else ""
            self._leaf = OpenCode(self._place(), self._next_code(), language, mark, line.indent)
        elif not self._begins_from_paragraph(content, depth):
            if not is_rule(content):
                return False
            self._close_for_other(depth)
            self._pieces.append(Rule(self._place()))
        return True

    def _begins_from_paragraph(self, content: str, depth: int) -> bool:
        """A table or a heading that the line above this one turns out to belong to."""
        leaf = self._leaf
        if not self._is_in_paragraph(depth) or not isinstance(leaf, OpenWords):
            return False
        justify = column_justify(content)
        if justify and "|" in leaf.lines[-1] and len(cells_of(leaf.lines[-1])) == len(justify):
            header = cells_of(leaf.lines.pop())
            place = self._place() if leaf.lines else leaf.place
            self._pieces += leaf.close()
            self._leaf = OpenTable(place, tuple(header), tuple(justify))
            return True
        level = underline_level(content)
        if not level or leaf.is_cut:
            return False
        self._pieces.append(Words(leaf.place, "\n".join(leaf.lines), level))
        self._leaf = None
        return True

    def _read_text(self, line: SourceLine, depth: int) -> None:
        leaf, is_reached = self._leaf, depth == len(self._open)
        if isinstance(leaf, OpenWords) and not line.is_blank:
            self._pieces += leaf.add(line.content.rstrip())
            return
        is_indented = line.indent >= CODE_INDENT
        if isinstance(leaf, OpenTable) and is_reached and not line.is_blank and not is_indented:
            self._pieces += leaf.add(line.content)
            return
        if line.is_blank:
            self._close(depth)
            self._is_after_blank = True
            return
        self._close_for_other(depth)
        if is_indented:
            code = OpenCode(self._place(), self._next_code())
            self._pieces += code.add(line)
            self._leaf = code
        else:
            self._leaf = OpenWords(self._place(), [line.content.rstrip()])

    # What is open

    def _is_in_paragraph(self, depth: int) -> bool:
        """Whether a line that reached this depth could go on with a paragraph there."""
        return depth == len(self._open) and isinstance(self._leaf, OpenWords)

    def _push(self, container: Container) -> None:
        self._note_child()
        self._open.append(container)

    def _note_child(self) -> None:
        if self._open:
            self._open[-1].has_child = True

    def _close_for_other(self, depth: int) -> None:
        """Close what is deeper, and a list there: only items stand in lists."""
        self._close(depth)
        if self._open and isinstance(self._open[-1], List):
            self._close(len(self._open) - 1)

    def _close(self, depth: int) -> None:
        """Close the leaf, and the containers that are deeper."""
        if self._leaf is not None:
            self._pieces += self._leaf.close()
            self._leaf = None
        while len(self._open) > depth:
            last = self._open[-1]
            if isinstance(last, Item) and not last.is_shown:
                self._pieces.append(Words(self._place(), ""))
            self._open.pop()
            self._above = None if self._above is None else min(self._above, len(self._open))

    def _next_code(self) -> int:
        self._codes += 1
        return self._codes - 1

    def _place(self) -> Place:
        """Of the leaf that begins now."""
        self._note_child()
        gap = self._gap()
        first, rest = _first_margins(self._open), _margins(self._open)
        self._above, self._is_after_blank = len(self._open), False
        return Place(first, rest, gap, any(isinstance(one, Quote) for one in self._open))

    def _gap(self) -> tuple[Margin, ...] | None:
        """Between what stands in lists there is a blank line where one was written."""
        if self._above is None:
            return None
        shared = self._open[: self._above]
        is_in_list = bool(shared) and not isinstance(shared[-1], Quote)
        return _margins(shared) if self._is_after_blank or not is_in_list else None


def _goes_on(container: Container, line: SourceLine) -> bool:
    match container:
        case Quote():
            return take_quote_marker(line)
        case Item() if line.is_blank:
            return container.has_child
        case Item():
            if line.indent < container.columns:
                return False
            line.skip_columns(container.columns)
    return True


def _margins(containers: Sequence[Container]) -> tuple[Margin, ...]:
    return tuple(
        _BAR if isinstance(one, Quote) else (" " * len(one.marker), "")
        for one in containers
        if not isinstance(one, List)
    )


def _first_margins(containers: Sequence[Container]) -> tuple[Margin, ...]:
    """With the markers of items that none has stood before; they are shown then."""
    margins = list(_margins(containers))
    holders = [one for one in containers if not isinstance(one, List)]
    for index, one in enumerate(holders):
        if isinstance(one, Item) and not one.is_shown:
            margins[index] = (one.marker, "name")
            one.is_shown = True
    return tuple(margins)
