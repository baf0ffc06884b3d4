"""Messages between the two processes: a fixed header, then a body of bytes.

Header, little endian: the body's length (4 bytes), the kind (1), the number of the call (4).
"""

import struct
from enum import IntEnum
from typing import IO, NamedTuple

MAX_BODY_BYTES = 64 << 20
_HEADER = struct.Struct("<IBI")


class Kind(IntEnum):
    """What a message is; the first three go to the worker, the others come from it."""

    CALL = 1  # body: the method's name, a zero byte, what the method gets
    CANCEL = 2
    CLOSE = 3  # cancels everything, ends the worker
    ITEM = 4
    END = 5  # body: the result
    ERROR = 6  # body: see crossing.py


_KINDS = {int(kind): kind for kind in Kind}  # half the time of Kind(number)


class FrameError(Exception):
    """What came over the pipe is no message."""


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    call: int
    body: bytes


def pack(kind: Kind, call: int, body: bytes = b"") -> bytes:
    """Raises FrameError for a body that is too large."""
    if len(body) > MAX_BODY_BYTES:
        raise FrameError(f"a message of {len(body)} bytes; at most {MAX_BODY_BYTES} are sent")
    return _HEADER.pack(len(body), kind, call) + body


def pack_call(call: int, method: str, body: bytes) -> bytes:
    """Raises FrameError for a body that is too large."""
    return pack(Kind.CALL, call, method.encode() + b"\0" + body)


def unpack_call(body: bytes) -> tuple[str, bytes]:
    """The method and what it gets. Raises FrameError."""
    method, zero, rest = body.partition(b"\0")
    if not zero or not method.isascii():
        raise FrameError("a call without a method")
    return method.decode("ascii"), rest


def read_frame(stream: IO[bytes]) -> Frame | None:
    """The next message; None at the end, also where that comes in the middle of one.

    stream: buffered, so that its read() returns all that is asked for. Raises FrameError.
    """
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, number, call = _HEADER.unpack(header)
    kind = _KINDS.get(number)
    if kind is None:
        raise FrameError(f"a message of unknown kind {number}")
    if length > MAX_BODY_BYTES:
        raise FrameError(f"a message of {length} bytes; at most {MAX_BODY_BYTES} are read")
    body = stream.read(length)
    return Frame(kind, call, body) if len(body) == length else None
