"""From the bytes of tokens to text a person may see: whole characters, no stop strings."""

from codecs import getincrementaldecoder
from collections.abc import Sequence


class StopFilter:
    """Lets text through up to the first stop string, none of which is ever shown.

    Text that could be the beginning of a stop string is held back until that is decided.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that may be shown now; after a stop string nothing more may be fed."""
        held = self._held + text
        found = [at for at in (held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return held[: min(found)]
        safe = len(held) - begun(held, self._stops)
        self._held = held[safe:]
        return held[:safe]

    def flush(self) -> str:
        """What was held back, once no more text will come."""
        held, self._held = self._held, ""
        return held


def begun(text: str, marks: Sequence[str]) -> int:
    """Length of the longest end of the text that begins one of the marks."""
    longest = max(map(len, marks), default=0) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0


class TextStream:
    """Decodes UTF-8 piece by piece and applies the stop strings."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._filter = StopFilter(stops)

    @property
    def stopped(self) -> bool:
        return self._filter.stopped

    def feed(self, piece: bytes) -> str:
        return self._filter.feed(self._decoder.decode(piece))

    def flush(self) -> str:
        """The held text; bytes of a character that never became whole are dropped."""
        return self._filter.flush()
