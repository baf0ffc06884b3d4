"""From pieces of Markdown to lines."""

from collections.abc import Iterable, Iterator, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from edgellm.apps.chat.transcript.code import CodePainter
from edgellm.apps.chat.transcript.inline import Line, wrapped, written
from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.pieces import Code, Margin, Piece, Rows, Rule, Words
from edgellm.apps.chat.transcript.tables import table_lines


def lay_out(piece: Piece, painter: CodePainter, width: int) -> Iterator[Strip]:
    """Lines of at most `width` cells."""
    look, place = painter.look, piece.place
    if place.gap is not None:
        yield _strip(_margin(place.gap, look, width) or [Segment(" ", look.base)])
    first, rest = _margin(place.first, look, width), _margin(place.rest, look, width)
    inner = width - Segment.get_line_length(rest)
    for number, line in enumerate(_lines(piece, painter, inner)):
        yield _strip([*(rest if number else first), *line])


def _lines(piece: Piece, painter: CodePainter, width: int) -> Iterable[Line]:
    look = painter.look
    style = look.base + look["thought"] if piece.place.is_quoted else look.base
    match piece:
        case Words():
            return wrapped(
                written(piece.text, look, style + _heading(look, piece.level)), look, width
            )
        case Rule():
            return [[Segment("─" * width, style + look["muted"])]]
        case Code():
            return painter.lines(piece, width)
        case Rows():
            return table_lines(piece, look, width, style)


def _heading(look: Look, level: int) -> Style:
    """The first level is underlined, those below the fourth are slanted."""
    if not level:
        return Style.null()
    return look["heading"] + Style(underline=level == 1 or None, italic=level > 4 or None)


def _margin(margins: Sequence[Margin], look: Look, width: int) -> Line:
    """At most half of the line; where there is more, the innermost stays."""
    line = [Segment(text, look.base + look[part]) for text, part in margins]
    while len(line) > 1 and Segment.get_line_length(line) > width // 2:
        del line[0]
    if line and line[0].cell_length > width // 2:
        return [Segment(line[0].text[: width // 2], line[0].style)]
    return line


def _strip(line: Line) -> Strip:
    return Strip(line, Segment.get_line_length(line))
