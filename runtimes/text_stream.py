"""From the bytes of tokens to text a person may see: whole characters, no stop strings."""

from codecs import getincrementaldecoder


class StopFilter:
    """Lets text through up to the first stop string, none of which is ever shown.

    Text that could be the beginning of a stop string is held back until that is decided.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._beginnings = {stop[:length] for stop in stops for length in range(1, len(stop))}
        self._longest = max(map(len, self._beginnings), default=0)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that may be shown now; after a stop string nothing more may be fed."""
        if not self._stops:
            return text
        held = self._held + text
        found = [at for at in (held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return held[: min(found)]
        safe = len(held) - self._undecided(held)
        self._held = held[safe:]
        return held[:safe]

    def flush(self) -> str:
        """What was held back, once no more text will come."""
        held, self._held = self._held, ""
        return held

    def _undecided(self, held: str) -> int:
        """Length of the longest end of `held` that begins a stop string."""
        for length in range(min(self._longest, len(held)), 0, -1):
            if held[-length:] in self._beginnings:
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
