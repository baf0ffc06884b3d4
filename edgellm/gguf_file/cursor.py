"""Bounded little-endian reads from an untrusted GGUF file; nothing is allocated on a promise."""

import struct
from collections.abc import Iterator
from os import PathLike
from typing import IO

from edgellm.errors import FormatError

MAX_STRING_BYTES = 64 << 20
_WINDOW_BYTES = 1 << 20
_U64 = struct.Struct("<Q")


class Cursor:
    """Reads a file front to back through a window; every length is checked against what is left."""

    def __init__(self, path: str | PathLike[str], file: IO[bytes], size_bytes: int) -> None:
        self.path = path
        self._file = file
        self._size_bytes = size_bytes
        self._window = b""
        self._window_start = 0  # file offset of the window
        self._at = 0  # position inside the window

    @property
    def position(self) -> int:
        return self._window_start + self._at

    @property
    def remaining_bytes(self) -> int:
        return self._size_bytes - self.position

    def error(self, problem: str) -> FormatError:
        return FormatError(self.path, problem, self.position)

    def seek(self, offset: int) -> None:
        """Continue at `offset`; must lie inside the file."""
        self._file.seek(offset)
        self._window, self._window_start, self._at = b"", offset, 0

    def skip(self, count: int, what: str) -> None:
        self._need(count, what)
        if self._at + count <= len(self._window):
            self._at += count
        else:
            self.seek(self.position + count)

    def take(self, count: int, what: str) -> bytes:
        self._need(count, what)
        missing = self._at + count - len(self._window)
        if missing > 0:
            self._refill(missing, what)
        taken = self._window[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, layout: struct.Struct, what: str) -> int | float:
        value: int | float = layout.unpack(self.take(layout.size, what))[0]
        return value

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "little")

    def string(self, what: str, limit_bytes: int = MAX_STRING_BYTES) -> bytes:
        length = self.u64(f"the length of {what}")
        if length > limit_bytes:
            raise self.error(f"{what} claims {length} bytes; at most {limit_bytes} are allowed")
        return self.take(length, what)

    def text(self, what: str, limit_bytes: int = MAX_STRING_BYTES) -> str:
        raw = self.string(what, limit_bytes)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.error(f"{what} is not UTF-8") from None

    def strings(self, count: int, what: str) -> Iterator[bytes]:
        """Yield `count` strings; must be exhausted, the position is set at the end.

        The inner loop runs once per vocabulary entry, so it works on locals inside one window.
        """
        window, at, end = self._window, self._at, len(self._window)
        for _ in range(count):
            start = at + 8
            stop = start + _U64.unpack_from(window, at)[0] if start <= end else end + 1
            if stop <= end:
                at = stop
                yield window[start:stop]
            else:
                self._at = at
                yield self.string(what)
                window, at, end = self._window, self._at, len(self._window)
        self._at = at

    def skip_strings(self, count: int, what: str) -> None:
        for _ in self.strings(count, what):
            pass

    def _need(self, count: int, what: str) -> None:
        if count > self.remaining_bytes:
            left = max(self.remaining_bytes, 0)
            raise self.error(
                f"{what} needs {count} bytes, the file has {left} left; it is truncated"
            )

    def _refill(self, missing: int, what: str) -> None:
        kept = self._window[self._at :]
        self._window_start += self._at
        self._at = 0
        self._window = kept + self._file.read(max(missing, _WINDOW_BYTES))
        if len(self._window) < len(kept) + missing:
            raise self.error(f"{what} cannot be read; the file became shorter")
