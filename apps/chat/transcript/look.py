"""The styles of the current theme, in the form that laying out lines takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console
from rich.style import Style
from rich.theme import Theme

if TYPE_CHECKING:
    from rich.console import ConsoleOptions
    from rich.segment import Segment

# The component classes of the transcript that styles are read from, without their prefix.
PARTS = (
    "user",
    "name",
    "muted",
    "thought",
    "warning",
    "heading",
    "link",
    "code",
    "inline-code",
    "mark",
)
GROUNDED = ("code", "inline-code")  # have a background of their own


@dataclass(frozen=True)
class Look:
    """Styles by what they are for; two looks are the same when these are."""

    base: Style
    parts: Mapping[str, Style]  # by PARTS
    code_theme: str  # of Pygments
    console: Console = field(compare=False)  # renders Markdown in these styles

    @classmethod
    def of(cls, base: Style, parts: Mapping[str, Style], *, dark: bool, ansi: bool) -> "Look":
        """ansi: the terminal's own sixteen colours."""
        kind = "dark" if dark else "light"
        code_theme = f"ansi_{kind}" if ansi else ("github-dark" if dark else "tango")
        return cls(base, parts, code_theme, _console(parts))

    def __getitem__(self, part: str) -> Style:
        return self.parts[part]

    def options(self, width: int) -> "ConsoleOptions":
        return self.console.options.update(width=max(width, 1), height=None)

    def render(self, renderable: object, width: int, style: Style) -> "list[list[Segment]]":
        """Lines of exactly `width` cells."""
        return self.console.render_lines(
            renderable,  # type: ignore[arg-type]
            self.options(width),
            style=style,
        )


def _console(parts: Mapping[str, Style]) -> Console:
    """A console that prints nowhere and knows the styles of Markdown."""
    heading, muted = parts["heading"], parts["muted"]
    styles = {
        "markdown.h1": heading + Style(underline=True),
        "markdown.h2": heading,
        "markdown.h3": heading,
        "markdown.h4": heading,
        "markdown.h5": heading + Style(italic=True),
        "markdown.h6": heading + Style(italic=True),
        "markdown.code": parts["inline-code"],
        "markdown.block_quote": parts["thought"],
        "markdown.item.bullet": parts["name"],
        "markdown.item.number": parts["name"],
        "markdown.link": parts["link"],
        "markdown.link_url": muted,
        "markdown.hr": muted,
        "markdown.table.border": muted,
        "markdown.table.header": Style(bold=True),
        "markdown.em": Style(italic=True),
        "markdown.strong": Style(bold=True),
        "markdown.s": Style(strike=True),
    }
    return Console(
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        theme=Theme(styles),
        width=80,
        height=25,
        _environ={},
    )
