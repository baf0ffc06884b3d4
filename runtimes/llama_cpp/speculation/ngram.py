"""Guesses by looking up what followed when the text last stood where it stands now.

Prompt lookup: github.com/apoorvumang/prompt-lookup-decoding; an answer that quotes, edits or
repeats its prompt is mostly copied.
"""

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes
from edgellm.runtimes.llama_cpp.shifting import shared

_LEAST = 2  # tokens that must agree
_LONGEST = 16  # tokens compared
_CANDIDATES = 8  # places compared, from the latest on: bounds the work of each token
# Agreeing tokens up to which a guess is of each class; the last class is that of all longer ones.
_CLASSES = (2, 4, 8)


class NgramProposer:
    """Every pair of tokens knows where it stood before, so that growing costs O(1) a token."""

    priors = (0.4, 0.6, 0.8, 0.95)
    token_seconds = 0.0
    buffers = BufferBytes()

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._latest: dict[int, int] = {}  # by pair: the place of its second token
        self._earlier: list[int] = []  # by place: where the same pair stood before, or -1
        self._match = 0  # the place that the end of the text resembles most

    def answering(self, cancel: CancelToken) -> AbstractContextManager[None]:
        """See Proposer.answering: there is nothing to stop."""
        return nullcontext()

    def close(self) -> None:
        """See Proposer.close."""
        self.begin(())

    def begin(self, tokens: Sequence[int]) -> None:
        """See Proposer.begin; costs what the texts do not share."""
        self._forget(shared(self._tokens, tokens))
        self._follow(tokens)

    def evidence(self, tokens: Sequence[int]) -> int | None:
        """See Proposer.evidence: a class of how many tokens agree."""
        self._follow(tokens)
        self._match, length = self._longest_match()
        return bisect_left(_CLASSES, length) if length else None

    def propose(self, tokens: Sequence[int], count: int) -> list[int]:
        """What followed the place that evidence() found; a text that goes in circles goes on so."""
        start = self._match + 1
        found = self._tokens[start : start + count]
        period = len(found)
        while len(found) < count:
            found.append(found[-period])
        return found

    def _longest_match(self) -> tuple[int, int]:
        """(place, tokens that agree up to there) of the latest of the longest matches."""
        best, best_length = 0, 0
        candidate = self._earlier[-1] if self._earlier else -1
        for _ in range(_CANDIDATES):
            if candidate < 0 or best_length == _LONGEST:
                break
            length = self._agreeing(candidate)
            if length > best_length:
                best, best_length = candidate, length
            candidate = self._earlier[candidate]
        return best, best_length

    def _agreeing(self, place: int) -> int:
        """Tokens up to `place` that the end of the text repeats; the pair itself does."""
        tokens, end = self._tokens, len(self._tokens) - 1
        length, most = _LEAST, min(_LONGEST, place + 1)
        while length < most and tokens[place - length] == tokens[end - length]:
            length += 1
        return length

    def _follow(self, tokens: Sequence[int]) -> None:
        for place in range(len(self._tokens), len(tokens)):
            self._tokens.append(tokens[place])
            pair = self._pair(place)
            self._earlier.append(self._latest.get(pair, -1))
            self._latest[pair] = place

    def _forget(self, length: int) -> None:
        for place in range(len(self._tokens) - 1, length - 1, -1):
            pair, earlier = self._pair(place), self._earlier.pop()
            if earlier < 0:
                del self._latest[pair]
            else:
                self._latest[pair] = earlier
            self._tokens.pop()

    def _pair(self, place: int) -> int:
        """One number for two tokens; the first token of a text has no other before it."""
        before = self._tokens[place - 1] if place else -1
        return (before << 32) | self._tokens[place]
