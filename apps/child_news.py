"""What an `edgellm` run for a program writes to stderr: progress and notes, among other lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from edgellm.errors import FormatError
from edgellm.json_file import parse_json
from edgellm.jsonfields import JsonObject
from edgellm.progress import Progress, Unit

MAX_LINE_BYTES = 64 << 10
_SOURCE = "stderr"
_UNITS: tuple[Unit, ...] = get_args(Unit)

News = Progress | str  # a string is a note


class Lines:
    """Cuts what comes into lines; of a very long one the beginning is kept."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that this piece ends."""
        first, *others = piece.split(b"\n")
        self._begun = (self._begun + first)[:MAX_LINE_BYTES]
        for line in others:
            yield self._begun
            self._begun = line[:MAX_LINE_BYTES]

    def rest(self) -> bytes:
        """The line that nothing has ended."""
        return self._begun


def read_news(line: bytes) -> News | None:
    """What a line tells; None for one that is something else, such as a native library's."""
    if not line.startswith(b"{"):
        return None
    try:
        fields = JsonObject.at(_SOURCE, "", parse_json(line, Path(_SOURCE)))
        return _note(fields) if fields.has("note") else _progress(fields)
    except FormatError:
        return None


def _note(fields: JsonObject) -> str:
    return _whole(fields.only("note").text("note"))


def _progress(fields: JsonObject) -> Progress:
    fields.only("phase", "done", "total", "unit", "item")
    unit = next((unit for unit in _UNITS if unit == fields.values.get("unit")), None)
    item = fields.values.get("item")
    if unit is None or not isinstance(item, str):
        raise FormatError(_SOURCE, "no progress")
    done, total = fields.integer("done"), fields.integer("total")
    return Progress(_whole(fields.text("phase")), done, total, _whole(item), unit)


def _whole(text: str) -> str:
    """A file's name may hold bytes that are no character, which nobody could show or store."""
    return text.encode("utf-8", "replace").decode("utf-8")
