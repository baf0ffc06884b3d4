"""Where a sentence ends, in text that comes piece by piece."""

_ENDS = frozenset(".!?\u2026")  # end a sentence when white space follows
_WIDE_ENDS = frozenset("\u3002\uff01\uff1f")  # of scripts that write no space; end it at once
_CLOSERS = frozenset("\"')]}*_`\u00bb\u2019\u201d\u203a\u300d\u300f\u3011\uff09")


class SentenceCutter:
    """Gives out text up to the last finished sentence and holds the rest.

    A sentence is finished by one of . ! ? and the ellipsis, with what closes a quotation, a bracket
    or an emphasis, and white space; by an end of Chinese or Japanese with what closes; and by the
    end of a line. What ends it goes with it.
    """

    def __init__(self) -> None:
        self._held: list[str] = []
        self._after = ""  # the end that only closers have followed: one of _ENDS, or of _WIDE_ENDS

    def feed(self, text: str) -> str:
        """The text that is finished now, and was not before; takes as long as `text` is."""
        end = 0
        for at, character in enumerate(text):
            if self._finishes(character):
                end = at + 1
        if not end:
            self._held.append(text)
            return ""
        finished = "".join((*self._held, text[:end]))
        self._held = [text[end:]]
        return finished

    def flush(self) -> str:
        """What was held, as nothing more will come of it."""
        held, self._held, self._after = "".join(self._held), [], ""
        return held

    def _finishes(self, character: str) -> bool:
        """Whether a sentence is finished with this character; it is the next one of the text."""
        after = self._after
        if character in _ENDS or character in _WIDE_ENDS:
            self._after = character
        elif character not in _CLOSERS:
            self._after = ""
        if character in _WIDE_ENDS or character == "\n":
            return True
        if after in _WIDE_ENDS:
            return character in _CLOSERS
        return bool(after) and character.isspace()
