"""Prompts of exact lengths to measure speed with."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache

from edgellm.bundled import bundled_calibration_text

_LONGEST_WORD = 12  # letters; a word that is cut off leaves so little to fill up
_FILLERS = (" a", "a", ".")  # the first is one token in nearly every vocabulary


class PromptWriter:
    """Writes texts of as many tokens as asked for, of ordinary words, so that experts vary."""

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        """count_tokens: of a prompt, with the tokens that the model puts around it."""
        self._count = count_tokens

    def text(self, tokens: int, turn: int = 0) -> str:
        """`tokens` of it, or one off where the vocabulary has no such text; never empty.

        Turns begin with different words, so that no prompt begins like another one.
        """
        return self.longer("", tokens, turn) or "a"

    def longer(self, text: str, tokens: int, turn: int = 0) -> str:
        """The text with words behind it until it has `tokens`; see text()."""
        words = _words_from(turn)

        def with_words(count: int) -> str:
            more = " ".join(_repeated(words, count))
            return f"{text} {more}" if text and more else text or more

        upper = max(1, tokens)
        fits = bisect_right(range(1, upper + 1), tokens, key=lambda n: self._count(with_words(n)))
        return self._filled(with_words(fits), tokens)

    def _filled(self, text: str, tokens: int) -> str:
        reached = self._count(text)
        for filler in _FILLERS:
            while reached < (longer := self._count(text + filler)) <= tokens:
                text, reached = text + filler, longer
        return text


def _repeated(words: Sequence[str], count: int) -> list[str]:
    whole, rest = divmod(count, len(words))
    return [*words] * whole + [*words[:rest]]


def _words_from(turn: int) -> Sequence[str]:
    words = _plain_words()
    start = turn * 997 % len(words)  # a prime, so that turns do not fall on the same places
    return [*words[start:], *words[:start]]


@cache
def _plain_words() -> Sequence[str]:
    words = bundled_calibration_text().split()
    return [word for word in words if _is_plain(word)]


def _is_plain(word: str) -> bool:
    return word.isalpha() and word.isascii() and len(word) <= _LONGEST_WORD
