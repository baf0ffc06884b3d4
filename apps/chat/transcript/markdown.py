"""Markdown to lines, appended to as an answer comes.

A text is a list of blocks. Only the last of them can change when text is appended, so only it is
parsed and laid out again.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich import markdown as rich_markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip

from edgellm.apps.chat.transcript.code import CodePainter, Line
from edgellm.apps.chat.transcript.look import Look


class MarkdownLines:
    """A text in Markdown and its lines at one width; owns both."""

    def __init__(self, text: str = "") -> None:
        """text: harmless in a terminal, see edgellm.apps.terminal_text."""
        self.text = text
        self._look: Look | None = None
        self._width = 0
        self._seen = 0  # characters that are laid out
        self._forget()

    def append(self, text: str) -> None:
        self.text += text

    @property
    def codes(self) -> list[str]:
        """The text of each block of code, in order."""
        tokens = _parser().parse(self.text)
        return [token.content.rstrip("\n") for token in tokens if token.type in _CODE]

    def lines(self, look: Look, width: int) -> Sequence[Strip]:
        """Lines of at most `width` cells; those of finished blocks are laid out once."""
        if self._look is not look or self._width != width:
            self._look, self._width = look, width
            self._forget()
        if self._seen != len(self.text):
            self._seen = len(self.text)
            self._extend(look, width)
        return [*self._done, *self._tail] if self._tail else self._done

    def _forget(self) -> None:
        self._done: list[Strip] = []
        self._tail: list[Strip] = []  # of the last block, which may still change
        self._tail_at = 0  # where in the text it begins
        self._codes = 0  # blocks of code before it
        self._seen = 0
        self._links: dict[str, object] = {}  # where references lead, of earlier blocks too
        self._painter: CodePainter | None = None

    def _extend(self, look: Look, width: int) -> None:
        rest = self.text[self._tail_at :]
        blocks = list(_blocks(_parser().parse(rest, self._links)))
        self._painter = painter = self._painter or CodePainter(look)
        for number, block in enumerate(blocks):
            is_last = number + 1 == len(blocks)
            if is_last and number:
                self._tail_at += _offset_of_line(rest, _first_line(block))
            laid = _Block(block, painter, self._codes)
            lines = [Strip([Segment(" ")], 1)] if self._done else []
            lines += [Strip(line, width) for line in _full(look.render(laid, width, look.base))]
            if is_last:
                self._tail = lines
            else:
                self._done += lines
                self._codes += sum(token.type in _CODE for token in block)
        if not blocks:
            self._tail = []


_CODE = ("fence", "code_block")


@cache
def _parser() -> MarkdownIt:
    """HTML stays text: a model that writes a tag means to show it."""
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The tokens of each block that lies in no other."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _full(lines: list[Line]) -> list[Line]:
    """Without the empty lines at both ends, which some blocks bring along."""
    first, last = 0, len(lines)
    while first < last and _is_empty(lines[first]):
        first += 1
    while first < last and _is_empty(lines[last - 1]):
        last -= 1
    return lines[first:last]


def _is_empty(line: Line) -> bool:
    return all(
        not segment.text.strip() and (segment.style is None or segment.style.bgcolor is None)
        for segment in line
    )


def _first_line(block: Sequence[Token]) -> int:
    first = block[0].map
    assert first is not None, "a block at the top knows its lines"
    return first[0]


def _offset_of_line(text: str, line: int) -> int:
    """Where a line begins, in characters."""
    lengths = (len(row) + 1 for row in text.split("\n"))
    return 0 if line == 0 else list(accumulate(lengths))[line - 1]


class _Heading(rich_markdown.Heading):
    LEVEL_ALIGN: ClassVar = dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "left")


class _Rule(rich_markdown.HorizontalRule):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text("─" * options.max_width, console.get_style("markdown.hr"))


class _Code(rich_markdown.CodeBlock):
    def __init__(self, language: str, number: int, painter: CodePainter) -> None:
        super().__init__(language, "")
        self._number = number
        self._painter = painter

    @classmethod
    def create(cls, markdown: rich_markdown.Markdown, token: Token) -> "_Code":
        assert isinstance(markdown, _Block)
        language = (token.info or "").partition(" ")[0]
        return cls(language, markdown.next_code(), markdown.painter)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        for line in self._painter.lines(code, self.lexer_name, self._number, options.max_width):
            yield from _with_end(line)


def _with_end(line: Line) -> Iterator[Segment]:
    yield from line
    yield Segment.line()


class _Block(rich_markdown.Markdown):
    """One block of a text."""

    elements: ClassVar = {
        **rich_markdown.Markdown.elements,
        "heading_open": _Heading,
        "hr": _Rule,
        "fence": _Code,
        "code_block": _Code,
    }

    def __init__(self, tokens: Sequence[Token], painter: CodePainter, codes: int) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = [_broken(token) for token in tokens]
        self.painter = painter
        self._codes = codes

    def next_code(self) -> int:
        self._codes += 1
        return self._codes - 1


def _broken(token: Token) -> Token:
    """With its line breaks kept: models mean them, in verse most of all."""
    for child in token.children or ():
        if child.type == "softbreak":
            child.type = "hardbreak"
    return token
