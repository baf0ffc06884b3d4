"""Blocks that hold text, while their lines come; each hands out pieces that stay as they are."""

from dataclasses import dataclass, field, replace

from edgellm.apps.chat.transcript.pieces import Code, Columns, Piece, Place, Rows, Words
from edgellm.apps.chat.transcript.scanning import CODE_INDENT, SourceLine, cells_of, closes

# Longer paragraphs are cut at an end of line into parts of their own, so that what comes to the
# end costs the same however much stands above.
WORDS_CHARACTERS = 2000
# A block of code is coloured in parts of so much; only the last one is coloured again.
CODE_ROWS = 64
CODE_CHARACTERS = 4000
SAMPLE_ROWS = 16  # of a table: they say how wide its columns are
SAMPLE_CELLS = 128


@dataclass(slots=True)
class OpenWords:
    """A paragraph. Its last line may still become the header of a table."""

    place: Place
    lines: list[str]
    is_cut: bool = False  # a part of it was handed out: it can be no heading any more

    def add(self, line: str) -> list[Piece]:
        if sum(map(len, self.lines)) < WORDS_CHARACTERS:
            self.lines.append(line)
            return []
        pieces = self.close()
        self.place, self.lines, self.is_cut = self.place.after, [line], True
        return pieces

    def go_on(self, text: str) -> list[Piece]:
        """The last line is longer than it seemed."""
        return self.add(text.strip()) if text.strip() else []

    def close(self) -> list[Piece]:
        return [Words(self.place, "\n".join(self.lines))] if self.lines else []

    def copy(self) -> "OpenWords":
        return replace(self, lines=self.lines.copy())


@dataclass(slots=True)
class OpenCode:
    """A block of code; some empty rows at its end are held back, as they may be its last."""

    place: Place
    number: int
    language: str = ""
    fence: str = ""  # what began it; empty where its indent did
    indent: int = 0  # of the fence, in columns
    is_first: bool = True
    is_midrow: bool = False
    rows: list[str] = field(default_factory=list)
    empty: int = 0  # rows, after those

    def takes(self, line: SourceLine) -> bool:
        """Whether a line may be the next row; not whether it ends the block."""
        return bool(self.fence) or line.indent >= CODE_INDENT or line.is_blank

    def is_closed_by(self, line: SourceLine) -> bool:
        return bool(self.fence) and line.indent < CODE_INDENT and closes(line.content, self.fence)

    def add(self, line: SourceLine) -> list[Piece]:
        is_empty = not self.fence and line.is_blank
        line.skip_columns(self.indent if self.fence else CODE_INDENT)
        row = "" if is_empty else line.rest
        if not row:
            self.empty += 1
            if self.empty < CODE_ROWS:
                return []
        self.rows += [""] * self.empty + [row] * bool(row)
        self.empty = 0
        return self._part(self._cut) if self._is_full else []

    def go_on(self, text: str) -> list[Piece]:
        self.rows += [""] * self.empty
        pieces = self._part(len(self.rows))
        self.rows, self.is_midrow, self.empty = [text], True, 0
        return pieces

    @property
    def _is_full(self) -> bool:
        return len(self.rows) >= CODE_ROWS or sum(map(len, self.rows)) >= CODE_CHARACTERS

    @property
    def _cut(self) -> int:
        """Where the next part begins: at a row without indent, which is seldom inside a string."""
        last = len(self.rows) - 1
        rows = range(last, last // 2, -1)
        return next((at for at in rows if self.rows[at][:1] not in ("", " ", "\t")), last)

    def _part(self, length: int) -> list[Piece]:
        """The rows up to that one; those from it on begin the next part."""
        rest = self.rows[length:]
        del self.rows[length:]
        pieces = self.close()
        self.place, self.rows = self.place.after, rest
        self.is_first = self.is_midrow = False
        return pieces

    def close(self) -> list[Piece]:
        rows = tuple(self.rows)
        if not rows and not self.is_first:
            return []
        return [Code(self.place, self.number, self.language, rows, self.is_first, self.is_midrow)]

    def copy(self) -> "OpenCode":
        return replace(self, rows=self.rows.copy())


@dataclass(slots=True)
class OpenTable:
    """A table; rows below its first ones are handed out one by one."""

    place: Place
    header: tuple[str, ...]
    justify: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    columns: Columns | None = None  # once they are settled

    def add(self, line: str) -> list[Piece]:
        row = self._fitted(cells_of(line))
        if self.columns is not None:
            return [Rows(self.place, self.columns, (row,), is_first=False)]
        self.rows.append(row)
        if len(self.rows) < SAMPLE_ROWS and len(self.rows) * len(row) < SAMPLE_CELLS:
            return []
        pieces = self.close()
        self.columns = Columns(self.header, self.justify, tuple(self.rows))
        self.place = self.place.after
        return pieces

    def close(self) -> list[Piece]:
        if self.columns is not None:
            return []
        columns = Columns(self.header, self.justify, tuple(self.rows))
        return [Rows(self.place, columns, columns.sample)]

    def copy(self) -> "OpenTable":
        return replace(self, rows=self.rows.copy())

    def _fitted(self, cells: list[str]) -> tuple[str, ...]:
        """As many as there are columns; what is beyond goes into the last one."""
        last = len(self.header) - 1
        cells += [""] * (last + 1 - len(cells))
        return (*cells[:last], " | ".join(cells[last:]))


Leaf = OpenWords | OpenCode | OpenTable
