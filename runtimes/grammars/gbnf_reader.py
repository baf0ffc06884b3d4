"""The characters of a grammar: white space, names, escapes, and where an error is."""

from collections.abc import Callable

from edgellm.errors import UsageError

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_HEX = frozenset("0123456789abcdefABCDEF")
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


class GBNFReader:
    """Goes through a text from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def peek(self) -> str:
        return self._text[self.at : self.at + 1]

    def take(self, text: str) -> bool:
        taken = self._text.startswith(text, self.at)
        self.at += len(text) * taken
        return taken

    def take_while(self, wanted: Callable[[str], bool]) -> str:
        start = self.at
        while self.at < len(self._text) and wanted(self._text[self.at]):
            self.at += 1
        return self._text[start : self.at]

    def skip_space(self, *, lines: bool) -> None:
        while True:
            self.take_while((" \t\r\n" if lines else " \t").__contains__)
            if not self.take("#"):
                return
            self.take_while(lambda c: c not in "\r\n")

    def take_name(self) -> str:
        name = self.take_while(NAME_CHARACTERS.__contains__)
        if not name:
            raise self.error("expected the name of a rule")
        return name

    def take_character(self) -> None:
        if not self.peek():
            raise self.error("the grammar ends inside a text or class of characters")
        if not self.take("\\"):
            self.at += 1
            return
        kind = self.peek()
        length = _HEX_DIGITS.get(kind)
        if length is None and not (kind and kind in 'trn\\"[]-'):
            raise self.error(f"unknown escape of {kind!r}")
        digits = self._text[self.at + 1 : self.at + 1 + (length or 0)]
        if length is not None and not (len(digits) == length and _HEX.issuperset(digits)):
            raise self.error(f"expected {length} hexadecimal digits after \\{kind}")
        self.at += 1 + len(digits)

    def error(self, problem: str) -> UsageError:
        line = self._text.count("\n", 0, self.at) + 1
        column = self.at - (self._text.rfind("\n", 0, self.at) + 1) + 1
        return UsageError(f"grammar, line {line}, column {column}: {problem}")
