"""Added tokens: whole strings that are found in text before a tokenizer segments the rest.

The rules are those of the tokenizers library: the leftmost match wins, the longest of those.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Unicode White_Space; str.isspace also counts U+001C to U+001F.
_WHITE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_MAX_OVERLAP_WORK = 1 << 24  # published vocabularies need a tenth of it
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in text before anything else is."""

    id: int
    text: str  # what is looked for
    special: bool  # a control token; the rest are found even when special tokens are not parsed
    left_strip: bool = False  # swallows the white space before it
    right_strip: bool = False
    whole_word: bool = False  # only where no letter or digit touches it
    normalized: bool = False  # looked for in normalized text

    @property
    def is_plain(self) -> bool:
        """Whether it takes its own characters only, wherever they are."""
        return not (self.left_strip or self.right_strip or self.whole_word)


class TokenFinder:
    """Finds tokens in text; immutable."""

    def __init__(self, tokens: Sequence[AddedToken]) -> None:
        self._tokens = {token.text: token for token in tokens}
        self._lengths: dict[str, list[int]] = {}  # by first character, longest first
        for length in sorted({len(text) for text in self._tokens}, reverse=True):
            for first in {text[0] for text in self._tokens if len(text) == length}:
                self._lengths.setdefault(first, []).append(length)
        firsts = "".join(map(re.escape, self._lengths))
        self._first = re.compile(f"[{firsts}]" if firsts else "(?!)")

    def split(self, text: str, parse_special: bool) -> Iterator[tuple[int, int | str]]:
        """Token ids and the stretches between them, each with the offset where it starts.

        Without `parse_special`, special tokens stay text, and so do tokens inside of them.
        """
        reached = 0
        for token, start in self._matches(text):
            end = start + len(token.text)
            if (token.special and not parse_special) or (
                token.whole_word and _touches_word(text, start, end)
            ):
                continue
            if token.left_strip:
                start = max(reached, len(text[:start].rstrip(_WHITE)))
            if token.right_strip:
                end = len(text) - len(text[end:].lstrip(_WHITE))
            if start >= end:
                continue  # the strip before it took it, and its own strip left nothing
            if reached < start:
                yield reached, text[reached:start]
            yield start, token.id
            # As in the library, a token that another one's strip has taken counts unless it strips.
            reached = end
        if reached < len(text):
            yield reached, text[reached:]

    def _matches(self, text: str) -> Iterator[tuple[AddedToken, int]]:
        """Tokens and where they start: leftmost first, the longest of those, never overlapping."""
        position = 0
        while found := self._first.search(text, position):
            start = found.start()
            position = start + 1
            for length in self._lengths[found[0]]:
                token = self._tokens.get(text[start : start + length])
                if token is not None:
                    yield token, start
                    position = start + length
                    break


def overlapping(tokens: Sequence[AddedToken]) -> bool:
    """Whether some token may end inside another, so that the order of looking matters.

    True without a look for tokens so long that looking would take seconds.
    """
    if sum(len(token.text) ** 2 for token in tokens) > _MAX_OVERLAP_WORK:
        return True
    heads = {token.text[:n] for token in tokens for n in range(1, len(token.text))}
    return any(token.text[n:] in heads for token in tokens for n in range(1, len(token.text)))


def _touches_word(text: str, start: int, end: int) -> bool:
    return _is_word(text[start - 1 : start]) or _is_word(text[end : end + 1])


def _is_word(character: str) -> bool:
    if not character:
        return False
    return character.isalnum() or character in _JOINERS or _in_word_category(character)


def _in_word_category(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc", "Me", "Pc")
