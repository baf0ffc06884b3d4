"""The packets of Textual's web driver: one byte of kind, four of length, then so many bytes."""

import json
from asyncio import StreamReader
from collections.abc import AsyncIterator

DATA, META, PACKED = b"D", b"M", b"P"  # of the terminal; JSON; binary pieces of a file
_PRELUDE = b"__GANGLION__\n"
_PRELUDE_LINES = 10  # other things an app may print before


def packet(kind: bytes, payload: bytes) -> bytes:
    """One packet for the app."""
    return b"%s%s%s" % (kind, len(payload).to_bytes(4, "big"), payload)


def meta(**fields: str | int | None) -> bytes:
    """A packet that tells the app something."""
    return packet(META, json.dumps(fields).encode())


async def read_packets(stream: StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    """The packets that an app writes, as (kind, payload); ends early where it is no Textual app.

    Raises IncompleteReadError at the end of the stream.
    """
    for _ in range(_PRELUDE_LINES):
        line = await stream.readline()
        if line == _PRELUDE:
            break
    else:
        return
    while True:
        header = await stream.readexactly(5)
        yield header[:1], await stream.readexactly(int.from_bytes(header[1:], "big"))
