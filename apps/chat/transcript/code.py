"""A block of code as lines: its language, what copies it, and the code in colours."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax

from edgellm.apps.chat.transcript.look import Look

COPY = " copy "
CODE = "code"  # key in the meta of a style: the number of the block that a click copies
# Lines coloured at once. A block that grows is coloured again from its last chunk on only; what
# crosses a chunk's edge, such as a long string, may lose its colour.
CHUNK_LINES = 200
Line = list[Segment]


@dataclass
class CodePainter:
    """Paints blocks of code; keeps the chunks of long ones, which come again as they grow."""

    look: Look
    _chunks: dict[tuple[str, str, int], list[Line]] = field(default_factory=dict)

    def lines(self, code: str, language: str, number: int, width: int) -> Iterator[Line]:
        """number: of the block within its text. width: cells of each line."""
        yield self._header(language, number, width)
        rows = code.split("\n")
        for start in range(0, len(rows), CHUNK_LINES):
            chunk = "\n".join(rows[start : start + CHUNK_LINES])
            is_whole = start + CHUNK_LINES < len(rows)
            yield from (
                self._kept(chunk, language, width)
                if is_whole
                else self._painted(chunk, language, width)
            )

    def _header(self, language: str, number: int, width: int) -> Line:
        muted = self.look["code"] + self.look["muted"]
        button = self.look["code"] + self.look["name"] + Style(meta={CODE: number})
        name = f" {language[: max(width - len(COPY) - 2, 0)]}"
        gap = max(width - len(name) - len(COPY), 0)
        line = [Segment(name + " " * gap, muted), Segment(COPY, button)]
        return Segment.adjust_line_length(line, width, self.look["code"])

    def _kept(self, chunk: str, language: str, width: int) -> list[Line]:
        key = (language, chunk, width)
        if key not in self._chunks:
            self._chunks[key] = self._painted(chunk, language, width)
        return self._chunks[key]

    def _painted(self, chunk: str, language: str, width: int) -> list[Line]:
        ground = self.look["code"].bgcolor
        syntax = Syntax(
            chunk,
            language or "text",
            theme=self.look.code_theme,
            background_color="default" if ground is None else ground.name,
            word_wrap=True,
            padding=(0, 1),
        )
        return self.look.render(syntax, width, self.look["code"])
