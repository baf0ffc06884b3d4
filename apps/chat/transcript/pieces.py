"""What Markdown consists of for whoever lays it out: pieces, one below the other."""

from dataclasses import dataclass, replace

Margin = tuple[str, str]  # (what stands left of a line, the part of the look it has)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a piece stands: what goes before its lines, outermost first."""

    first: tuple[Margin, ...] = ()  # before its first line
    rest: tuple[Margin, ...] = ()  # before its other lines
    gap: tuple[Margin, ...] | None = None  # before the blank line above it; None for no such line
    is_quoted: bool = False

    @property
    def after(self) -> "Place":
        """Of what goes on right below."""
        return replace(self, first=self.rest, gap=None)


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph, a part of a long one, or a heading."""

    place: Place
    text: str  # with the marks of emphasis, links and code
    level: int = 0  # of a heading, 1 to 6


@dataclass(frozen=True, slots=True)
class Rule:
    place: Place


@dataclass(frozen=True, slots=True)
class Code:
    """Rows of a block of code: all of them, or those of a part."""

    place: Place
    number: int  # of the block within its text
    language: str
    rows: tuple[str, ...]
    is_first: bool = True  # begins the block
    is_midrow: bool = False  # its first row goes on with the last one of the part above


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are laid out by."""

    header: tuple[str, ...]
    justify: tuple[str, ...]  # left, right or center, by column
    sample: tuple[tuple[str, ...], ...]  # the first rows: columns are as wide as these need


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a table, each with as many cells as there are columns."""

    place: Place
    columns: Columns
    rows: tuple[tuple[str, ...], ...]
    is_first: bool = True  # the header stands above them


Piece = Words | Rule | Code | Rows
