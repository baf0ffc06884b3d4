"""Text from outside, made harmless for a terminal: what a model says is shown, never obeyed."""

import re

# Control characters but tab and line feed, which terminals obey; marks that turn the direction of
# what follows; separators that end a line in some programs; halves of characters.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SPACES = re.compile(r"\s+")


def harmless(text: str) -> str:
    """The text with such characters shown as "\\x1b"; its lines, tabs, accents and emoji stay.

    Carriage returns are left out, wherever they stand, so that a text may be given in pieces.
    """
    if _HARMFUL.search(text) is None:
        return text
    return _HARMFUL.sub(_shown, text)


def one_line(text: str) -> str:
    """The same in one line, spaces run together."""
    return harmless(_SPACES.sub(" ", text).strip())


def printable(text: str) -> str:
    """The text with everything shown that cannot be seen, as names in errors have to be read.

    Of an emoji that is joined of several, the joints are shown as well: not for what models say.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _shown(match: re.Match[str]) -> str:
    return "" if match[0] == "\r" else _escaped(match[0])


def _escaped(char: str) -> str:
    return repr(char)[1:-1]
