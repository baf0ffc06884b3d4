"""What a browser sends, as types; all of it is checked, as any program may have sent it."""

import json
from dataclasses import dataclass

MESSAGE_BYTES = 4 * 2**20  # a paste is one message
# A cell costs memory in the app, so a window has an end; no screen is this large.
_MOST_COLUMNS, _MOST_ROWS = 1000, 500
_LONGEST_PING = 64  # a time in milliseconds


class MessageError(ValueError):
    """A message that Textual's page does not send."""


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's size, in cells."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if not (0 < self.width <= _MOST_COLUMNS and 0 < self.height <= _MOST_ROWS):
            raise MessageError("a size that no window has")


@dataclass(frozen=True, slots=True)
class Typed:
    """Keys, mouse reports and pastes, as a terminal would send them."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Wants to be sent back."""

    text: str


@dataclass(frozen=True, slots=True)
class Focus:
    """The terminal got or lost the focus."""

    is_here: bool


Message = Typed | Size | Ping | Focus


def read_message(text: str) -> Message:
    """Read one message of Textual's page: a JSON list of a name and what belongs to it.

    Raises MessageError, whose text repeats nothing of the message.
    """
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    match envelope:
        case ["stdin", str(typed)]:
            return Typed(typed)
        case ["resize", {"width": int(width), "height": int(height)}] if not (
            isinstance(width, bool) or isinstance(height, bool)
        ):
            return Size(width, height)
        case ["ping", str(sent)] if len(sent) <= _LONGEST_PING:
            return Ping(sent)
        case ["focus" | "blur" as name]:
            return Focus(name == "focus")
    raise MessageError("not a message of this page")


def first_size(width: str | None, height: str | None) -> Size:
    """The size a page asks for when it connects; one that means nothing is the usual one."""
    try:
        return Size(int(width or ""), int(height or ""))
    except ValueError:
        return Size(80, 24)
