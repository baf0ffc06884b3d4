"""One line around what was found, with the found words marked."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from edgellm.apps.chat.conversations.texts import flat, fold

_EXCERPT = 160  # characters
_LEAD = 40  # of those, before the first match
_MORE = "\u2026"

Span = tuple[int, int]


def excerpt_around(content: str, words: Sequence[str]) -> tuple[str, tuple[Span, ...]]:
    """A line of the content around the first match, and the spans of the line that match.

    words: folded; at least one is in the folded content.
    """
    folded = _Folded(content)
    first = min(at for word in words if (at := folded.text.find(word)) >= 0)
    start = max(0, folded.place(first) - _LEAD)
    end = min(len(content), start + _EXCERPT)
    before = _MORE if start else ""
    line = before + flat(content[start:end]) + (_MORE if end < len(content) else "")
    shift = len(before) - start
    spans = [
        (begin + shift, min(stop, end) + shift)
        for word in words
        for begin, stop in folded.spans(word, start, end)
    ]
    return line, tuple(_merged(spans))


class _Folded:
    """A text without case that knows which character of the original each of its own is from."""

    def __init__(self, original: str) -> None:
        self.text = fold(original)
        # Most texts keep their length, character by character; then no table is needed.
        self._starts: list[int] | None = None
        if len(self.text) != len(original):
            lengths = (len(fold(character)) for character in original)
            self._starts = list(accumulate(lengths, initial=0))

    def place(self, at: int) -> int:
        """The original's character that this one is from."""
        return at if self._starts is None else bisect_right(self._starts, at) - 1

    def spans(self, word: str, start: int, end: int) -> Iterator[Span]:
        """Where the original has the word, whose beginning is between two of its places."""
        if self._starts is not None:
            start, end = self._starts[start], self._starts[end]
        at = self.text.find(word, start)
        while 0 <= at < end:
            yield self.place(at), self.place(at + len(word) - 1) + 1
            at = self.text.find(word, at + 1)


def _merged(spans: Sequence[Span]) -> Iterator[Span]:
    """The same places as spans in order that neither overlap nor touch."""
    begin, end = 0, -1
    for start, stop in sorted(spans):
        if start <= end:
            end = max(end, stop)
            continue
        if end > begin:
            yield begin, end
        begin, end = start, stop
    if end > begin:
        yield begin, end
