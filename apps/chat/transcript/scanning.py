"""A line of Markdown, read from the left; and what the beginnings of lines mean."""

import re
from dataclasses import dataclass

TAB = 4
CODE_INDENT = 4  # columns that make a line code
_SPACE = " \t"


@dataclass(slots=True)
class SourceLine:
    """Columns count, not characters: a tab leads to the next multiple of four."""

    text: str
    at: int = 0  # characters read
    column: int = 0
    _is_in_tab: bool = False  # the next character is a tab of which some columns were read

    @property
    def start(self) -> int:
        """Where the next character is that is no space."""
        at = self.at
        while at < len(self.text) and self.text[at] in _SPACE:
            at += 1
        return at

    @property
    def is_blank(self) -> bool:
        return self.start == len(self.text)

    @property
    def indent(self) -> int:
        """Columns before that character."""
        column = self.column
        for char in self.text[self.at : self.start]:
            column += _cells(char, column)
        return column - self.column

    @property
    def content(self) -> str:
        """From that character on."""
        return self.text[self.start :]

    @property
    def rest(self) -> str:
        """All that is unread; of a tab that was read in part, spaces are left."""
        if self._is_in_tab:
            return " " * _cells("\t", self.column) + self.text[self.at + 1 :]
        return self.text[self.at :]

    def skip_columns(self, columns: int) -> None:
        """Read spaces and tabs, `columns` of them at most."""
        while columns > 0 and self.at < len(self.text) and self.text[self.at] in _SPACE:
            cells = _cells(self.text[self.at], self.column)
            taken = min(cells, columns)
            self._is_in_tab = taken < cells
            self.column += taken
            self.at += not self._is_in_tab
            columns -= taken

    def skip_marker(self, length: int) -> None:
        """Read the spaces before a marker, and the marker."""
        self.skip_columns(self.indent)
        self.at += length
        self.column += length


def _cells(char: str, column: int) -> int:
    return TAB - column % TAB if char == "\t" else 1


@dataclass(frozen=True, slots=True)
class ItemMarker:
    """What begins an item of a list."""

    style: str  # items of one list have the same
    number: int | None  # None for bullets
    columns: int  # from the beginning of the marker's indent to the item's content


_BULLET = re.compile(r"[*+-](?=[ \t]|$)")
_NUMBER = re.compile(r"([0-9]{1,9})([.)])(?=[ \t]|$)")


def take_item_marker(line: SourceLine, *, interrupts: bool) -> ItemMarker | None:
    """Read the marker of an item.

    interrupts: the line could go on with a paragraph, so that less counts as a marker.
    """
    content = line.content
    match = _BULLET.match(content) or _NUMBER.match(content)
    if match is None:
        return None
    number = int(match[1]) if match.lastindex else None
    is_empty = not content[match.end() :].strip(_SPACE)
    if interrupts and (is_empty or number not in (None, 1)):
        return None
    columns = line.indent + match.end()
    line.skip_marker(match.end())
    spaces = line.indent
    if is_empty or spaces > CODE_INDENT:
        spaces = 1
    line.skip_columns(spaces)
    return ItemMarker(match[0][-1], number, columns + spaces)


def take_quote_marker(line: SourceLine) -> bool:
    if line.indent >= CODE_INDENT or not line.content.startswith(">"):
        return False
    line.skip_marker(1)
    line.skip_columns(1)
    return True


_RULE = re.compile(r"(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$")
_HEADING = re.compile(r"(#{1,6})(?:[ \t]+|$)")
_HEADING_END = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_UNDERLINE = re.compile(r"(=+|--+)[ \t]*$")
_FENCE = re.compile(r"(`{3,})(?!.*`)|(~{3,})")


def is_rule(content: str) -> bool:
    return _RULE.match(content) is not None


def heading(content: str) -> tuple[int, str] | None:
    """(level, text) of a heading that begins with number signs."""
    match = _HEADING.match(content)
    if match is None:
        return None
    return len(match[1]), _HEADING_END.sub("", content[match.end() :]).strip(_SPACE)


def underline_level(content: str) -> int:
    """Of the heading that such a line below it makes; 0 for other lines."""
    match = _UNDERLINE.match(content)
    return 0 if match is None else 1 if match[1][0] == "=" else 2


def fence(content: str) -> tuple[str, str] | None:
    """(fence, what it says of the block) of a line that begins a block of code."""
    match = _FENCE.match(content)
    return None if match is None else (match[0], content[match.end() :].strip(_SPACE))


def closes(content: str, opened: str) -> bool:
    """Whether a line ends the block that this fence began."""
    marks = content.rstrip(_SPACE)
    return len(marks) >= len(opened) and not marks.strip(opened[0])


_CELLS = re.compile(r"[|:-][|:\- \t]*$")
_CELL = re.compile(r":?-+:?$")
MAX_COLUMNS = 64  # a table with more is shown as it was written


def column_justify(content: str) -> list[str] | None:
    """How each column of a table stands, by the line below its header; None for other lines."""
    if not _CELLS.match(content) or len(content.rstrip(_SPACE)) < 2 or content[:2] in ("- ", "-\t"):
        return None
    cells = content.strip(_SPACE).removeprefix("|").removesuffix("|").split("|")
    marks = [cell.strip(_SPACE) for cell in cells]
    if len(marks) > MAX_COLUMNS or not all(_CELL.match(mark) for mark in marks):
        return None
    return [_JUSTIFY[mark[:1] == ":", mark[-1:] == ":"] for mark in marks]


_JUSTIFY = {
    (False, False): "left",
    (True, False): "left",
    (False, True): "right",
    (True, True): "center",
}
_UNESCAPED_BAR = re.compile(r"(?<!\\)\|")


def cells_of(content: str) -> list[str]:
    """The cells of a row; a bar after a backslash belongs to its cell."""
    cells = _UNESCAPED_BAR.split(content.strip(_SPACE))
    if cells[0] == "":
        del cells[0]
    if cells and cells[-1] == "":
        del cells[-1]
    return [cell.replace("\\|", "|").strip(_SPACE) for cell in cells]
