"""Markdown to lines, appended to as an answer comes.

Blocks reads a text from the top and hands out pieces that nothing below them changes, so each is
laid out once. What is left open, and the line that is still coming, are laid out again each time;
both are short, however long the text is.
"""

from collections.abc import Iterable, Iterator, Sequence
from unicodedata import combining

from rich.segment import Segment
from textual.strip import Strip

from edgellm.apps.chat.transcript.blocks import Blocks
from edgellm.apps.chat.transcript.code import CodePainter
from edgellm.apps.chat.transcript.layout import lay_out
from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.pieces import Code, Piece
from edgellm.apps.terminal_text import harmless

LINE_CHARACTERS = 2000  # longer lines are read in parts, cut at a space where there is one


class MarkdownLines:
    """A text in Markdown and its lines at one width; owns both.

    The lines are the same in however many pieces the text came. For that, a table's columns are as
    wide as its first rows need, and marks reach no further than about 2000 characters.
    """

    def __init__(self, text: str = "", bar: str = "") -> None:
        """bar: stands before each line."""
        self.text = harmless(text)
        self._bar = bar
        self._look: Look | None = None
        self._width = 0
        self._seen = 0  # characters that are laid out
        self._reading = Reading()
        self._done: list[Strip] = []
        self._tail: list[Strip] = []  # of what may still change

    def append(self, text: str) -> None:
        self.text += harmless(text)

    @property
    def codes(self) -> list[str]:
        """The text of each block of code, in order."""
        reading = Reading()
        pieces = [*reading.settle(self.text), *reading.rest(self.text)]
        codes: list[str] = []
        for piece in pieces:
            if isinstance(piece, Code):
                rows = "\n".join(piece.rows)
                if piece.is_first:
                    codes.append(rows)
                else:
                    codes[-1] += rows if piece.is_midrow else "\n" + rows
        return [code.rstrip("\n") for code in codes]

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        """Lines of at most `width` cells; but a character of two cells takes two."""
        if self._look is not look or self._width != width:
            self._look, self._width = look, width
            self._forget()
        if self._seen != len(self.text):
            self._seen = len(self.text)
            self._done += self._laid_out(self._reading.settle(self.text), look, width)
            self._tail = list(self._laid_out(self._reading.rest(self.text), look, width))
        return [*self._done, *self._tail] if self._tail else self._done

    def _laid_out(self, pieces: Iterable[Piece], look: Look, width: int) -> Iterator[Strip]:
        painter = CodePainter(look)
        bar = self._bar[: width // 2]
        edge = Strip([Segment(bar, look["muted"])] if bar else ())
        for piece in pieces:
            for line in lay_out(piece, painter, width - len(bar)):
                yield Strip.join([edge, line]) if bar else line

    def _forget(self) -> None:
        self._reading = Reading()
        self._done, self._tail, self._seen = [], [], 0


class Reading:
    """How far a growing text was read; owns the place and the state of its blocks there."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._at = 0
        self._is_midline = False

    def settle(self, text: str) -> Iterator[Piece]:
        """Read all lines that have their end; the pieces that stay as they are."""
        while (cut := self._cut(text)) is not None:
            yield from _read(self._blocks, text[self._at : cut], is_midline=self._is_midline)
            self._is_midline = text[cut] != "\n"
            self._at = cut + (not self._is_midline)

    def rest(self, text: str) -> Iterator[Piece]:
        """What the remaining text is as long as nothing follows it; changes nothing."""
        blocks = self._blocks.copy()
        if self._at < len(text):
            yield from _read(blocks, text[self._at :], is_midline=self._is_midline)
        yield from blocks.finish()

    def _cut(self, text: str) -> int | None:
        """Where the next line, or the part of a long one, ends; None where it still grows."""
        most = self._at + LINE_CHARACTERS
        end = text.find("\n", self._at, most + 1)
        if end >= 0 or most >= len(text):
            return end if end >= 0 else None
        space = text.rfind(" ", self._at + LINE_CHARACTERS // 2, most)
        return space if space >= 0 else _between_characters(text, most)


def _between_characters(text: str, at: int) -> int:
    """The nearest place before that which divides no character from its accents or joiners."""
    for cut in range(at, at - 16, -1):
        joined = text[cut - 1] == "\u200d" or text[cut] in "\u200d\ufe0e\ufe0f"
        if not joined and not combining(text[cut]):
            return cut
    return at


def _read(blocks: Blocks, text: str, *, is_midline: bool) -> list[Piece]:
    return blocks.read_on(text) if is_midline else blocks.read(text)
