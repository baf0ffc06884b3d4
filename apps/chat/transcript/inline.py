"""What a paragraph says, with its emphasis, links and code, wrapped to lines."""

from collections.abc import Iterable, Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.terminal_text import harmless

_STYLES = {"em_open": "em", "strong_open": "strong", "s_open": "strike", "link_open": "link"}
TAB_CELLS = 4
Line = list[Segment]


def written(text: str, look: Look, style: Style) -> Text:
    """A text in Markdown without its marks. style: of all of it.

    Line breaks stay: models mean theirs, in verse most of all. A link's address stands behind it.
    """
    reader = _Reader(look)
    for token in _parser().parseInline(text):
        reader.read(token.children or (), Style.null())
    shown = Text(style=style, end="")
    for part, worn in reader.parts:
        # What stands for a character may stand for one that terminals obey: "&#x202e;".
        shown.append(harmless(part), worn)
    return shown


def wrapped(text: Text, look: Look, width: int) -> list[Line]:
    """Lines of at most `width` cells; longer words are cut."""
    lines = text.wrap(look.console, width, overflow="fold", tab_size=TAB_CELLS)
    return [_rendered(line, look, width) for line in lines]


def seamless(line: Line) -> Line:
    """In one style where styles divide a character, which takes other room than its parts."""
    plain = "".join(segment.text for segment in line)
    if cell_len(plain) == Segment.get_line_length(line):
        return line
    return [Segment(plain, line[0].style)]


def _rendered(line: Text, look: Look, width: int) -> Line:
    if not line.spans:  # Rich would give it no style
        segments = [Segment(line.plain, look.console.get_style(line.style))] if line.plain else []
    else:
        segments = seamless(list(line.render(look.console)))
    if Segment.get_line_length(segments) <= width:
        return segments
    return [Segment(_within(line.plain, width), segments[0].style)]


def _within(plain: str, width: int) -> str:
    """Rich takes joiners that join nothing for narrower where it wraps than where it measures."""
    return set_cell_size(plain.translate(dict.fromkeys(map(ord, "\u200d\ufe0f"))), width)


@cache
def _parser() -> MarkdownIt:
    """HTML stays text: a model that writes a tag means to show it."""
    return MarkdownIt("commonmark", {"html": False}).enable("strikethrough")


class _Reader:
    """Turns tokens into parts of text, each with a style."""

    def __init__(self, look: Look) -> None:
        self.parts: list[tuple[str, Style]] = []
        self._look = look
        self._links: list[tuple[str, int]] = []  # (address, parts before it)

    def read(self, tokens: Iterable[Token], base: Style) -> None:
        worn = [base]
        for token in tokens:
            if token.nesting > 0:
                worn.append(worn[-1] + self._look[_STYLES[token.type]])
            elif token.nesting < 0:
                worn.pop()
            self._read_one(token, worn)

    def _read_one(self, token: Token, worn: Sequence[Style]) -> None:
        style = worn[-1]
        match token.type:
            case "link_open":
                self._links.append((str(token.attrs["href"]), len(self.parts)))
            case "link_close":
                address, start = self._links.pop()
                is_told = token.markup == "autolink" or self._text_from(start) == address
                self._tell("" if is_told else f" ({address})", style + self._look["muted"])
            case "image":
                self._tell("image: ", style + self._look["muted"])
                self.read(token.children or (), style + self._look["link"])
                self._tell(f" ({token.attrs['src']})", style + self._look["muted"])
            case "code_inline":
                self._tell(token.content, style + self._look["inline-code"])
            case "softbreak" | "hardbreak":
                self._tell("\n", style)
            case _:
                self._tell(token.content, style)

    def _tell(self, text: str, style: Style) -> None:
        if text:
            self.parts.append((text, style))

    def _text_from(self, start: int) -> str:
        return "".join(text for text, _ in self.parts[start:])
