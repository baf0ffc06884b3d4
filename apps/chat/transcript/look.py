"""The styles of the current theme, in the form that laying out lines takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import StringIO

from rich.console import Console
from rich.style import Style

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
_MANNERS = {
    "em": Style(italic=True),
    "strong": Style(bold=True),
    "strike": Style(strike=True),
    "": Style.null(),
}


@dataclass(frozen=True)
class Look:
    """Styles by what they are for; two looks are the same when these are."""

    base: Style
    parts: Mapping[str, Style]  # by PARTS, and what emphasis does
    code_theme: str  # of Pygments
    console: Console = field(compare=False)  # what Rich wraps texts with; prints nowhere

    @classmethod
    def of(cls, base: Style, parts: Mapping[str, Style], *, dark: bool, ansi: bool) -> "Look":
        """ansi: the terminal's own sixteen colours."""
        kind = "dark" if dark else "light"
        code_theme = f"ansi_{kind}" if ansi else ("github-dark" if dark else "tango")
        console = Console(file=StringIO(), color_system="truecolor", width=80, _environ={})
        return cls(base, {**parts, **_MANNERS}, code_theme, console)

    @cached_property
    def of_thoughts(self) -> "Look":
        """The same in the colour of thoughts."""
        return replace(self, base=self.base + self["thought"])

    def __getitem__(self, part: str) -> Style:
        return self.parts[part]


def manner(style: Style) -> Style:
    """How a style writes, without its colours."""
    return Style(bold=style.bold, dim=style.dim, italic=style.italic, underline=style.underline)
