"""Blocks of code as lines: their language, what copies them, and the code in colours."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

from edgellm.apps.chat.transcript.inline import TAB_CELLS, Line, seamless, wrapped
from edgellm.apps.chat.transcript.look import Look, manner
from edgellm.apps.chat.transcript.pieces import Code

COPY = " copy "
CODE = "code"  # key in the meta of a style: the number of the block that a click copies
# Code with longer rows has no colours: some of Pygments' lexers take seconds for a character that
# comes again and again.
COLOURED_CHARACTERS = 300
Kind = tuple[str, ...]  # of a token, as Pygments names them


@dataclass(frozen=True)
class CodePainter:
    """Paints blocks of code in one look."""

    look: Look

    def lines(self, code: Code, width: int) -> Iterator[Line]:
        """Lines of exactly `width` cells."""
        ground = self.look.base + self.look["code"]
        if code.is_first:
            yield self._header(code, width, ground)
        room = max(width - 2, 1)
        for row in self._rows(code, ground):
            for line in _fitted(row, self.look, room):
                yield Segment.adjust_line_length([Segment(" ", ground), *line], width, ground)

    def _header(self, code: Code, width: int, ground: Style) -> Line:
        """The language, and at the right what copies the block."""
        name = set_cell_size(f" {code.language}", max(width - len(COPY), 0))
        button = Segment(COPY, ground + self.look["name"] + Style(meta={CODE: code.number}))
        line = [Segment(name, ground + self.look["muted"]), button]
        return Segment.adjust_line_length(line, width, ground)

    def _rows(self, code: Code, ground: Style) -> list[Line]:
        plain = "\n".join(row.rstrip().expandtabs(TAB_CELLS) for row in code.rows)
        rows: list[Line] = [[]]
        for kind, text in _tokens(plain, code.language):
            style = ground + _colour(self.look.code_theme, kind) if kind else ground
            for number, part in enumerate(text.split("\n")):
                if number:
                    rows.append([])
                if part:
                    rows[-1].append(Segment(part, style))
        return rows


def _fitted(row: Line, look: Look, width: int) -> list[Line]:
    row = seamless(row)
    if Segment.get_line_length(row) <= width:
        return [row]
    text = Text.assemble(*((part.text, part.style or "") for part in row), end="")
    return wrapped(text, look, width)


def _tokens(plain: str, language: str) -> list[tuple[Kind, str]]:
    """(kind, text); one without a kind where there are no colours."""
    lexer = _lexer(language)
    if lexer is not None and max(map(len, plain.split("\n"))) <= COLOURED_CHARACTERS:
        tokens: list[tuple[Kind, str]] = list(lexer.get_tokens(plain + "\n"))
        # They want the last line ended; and some take away what they do not know.
        if "".join(text for _, text in tokens) == plain + "\n":
            return [*tokens[:-1], (tokens[-1][0], tokens[-1][1][:-1])]
    return [((), plain)]


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    """What reads a language, or None."""
    return Syntax("", language, tab_size=TAB_CELLS).lexer if language else None


@lru_cache(maxsize=1024)
def _colour(theme: str, kind: Kind) -> Style:
    """Of a kind of token, without the theme's background."""
    style = Syntax.get_theme(theme).get_style_for_token(kind)
    return Style.from_color(style.color) + manner(style)
