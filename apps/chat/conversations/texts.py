"""How text is stored, compared and shown in one line."""

import re

_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_LINE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")


def whole(text: str) -> str:
    """The text without halves of characters, which no file can hold; each becomes U+FFFD.

    Two halves that belong together become their character.
    """
    if not has_halves(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def has_halves(text: str) -> bool:
    """Whether a surrogate is in the text: JSON can say one, UTF-8 cannot."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def fold(text: str) -> str:
    """The text with no difference of case. What is within a text is within it folded, too."""
    return text.casefold()


def flat(text: str) -> str:
    """White space and control characters become spaces; everything else stays at its place."""
    return _NO_LINE.sub(" ", text)


def beginning(text: str, characters: int) -> str:
    """The first words of the text, in one line."""
    line = " ".join(flat(text[: 4 * characters]).split())
    return line if len(line) <= characters else f"{line[: characters - 1]}\u2026"
