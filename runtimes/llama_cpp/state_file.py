"""The file of a saved conversation: signed sections, each checked before anyone looks inside.

Layout, little-endian: magic (8 bytes), version (u32), bytes of the header (u32), id of the key (8),
the header, its signature (32); then each section and its signature. The header is JSON:
`fingerprint` (what the content depends on, as texts by name), `tokens` (how many) and `sections`
(bytes of each). Section 0 holds the token ids as i32, section 1 what else is known of them, and the
others pieces of the cache.
A signature is HMAC-SHA256: the header's is over all before it, a section's over the header's, the
section's number (u64) and its bytes, so that sections cannot be changed, swapped or mixed.
"""

import hashlib
import hmac
import json
import os
import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from edgellm.errors import IntegrityError
from edgellm.files import new_file, output_errors, require_space, write_all
from edgellm.jsonfields import JsonObject
from edgellm.runtimes.llama_cpp.state_key import ID_BYTES, StateKey

MAGIC = b"edgellmK"
VERSION = 1
MAX_HEADER_BYTES = 1 << 18
_START = struct.Struct(f"<8sII{ID_BYTES}s")
_NUMBER = struct.Struct("<Q")
_SIGNATURE_BYTES = 32
Section = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class StateHeader:
    """What a file says of itself."""

    fingerprint: Mapping[str, str]
    tokens: int
    sections: tuple[int, ...]  # bytes of each: the tokens', the notes', each piece's

    @property
    def body_bytes(self) -> int:
        return sum(self.sections) + _SIGNATURE_BYTES * len(self.sections)

    def to_bytes(self) -> bytes:
        document = {
            "nonce": secrets.token_hex(16),  # no two headers share a signature
            "fingerprint": dict(self.fingerprint),
            "tokens": self.tokens,
            "sections": list(self.sections),
        }
        return json.dumps(document).encode()

    @classmethod
    def read(cls, raw: bytes | bytearray, path: Path) -> "StateHeader":
        """Of a header whose signature was good."""
        top = JsonObject.at(str(path), "", json.loads(raw))
        fingerprint = top.child("fingerprint")
        sections = top.values["sections"]
        assert isinstance(sections, list)
        return cls(
            {name: fingerprint.text(name) for name in fingerprint.values},
            top.integer("tokens"),
            tuple(sections),
        )


class StateWriter:
    """Appends signed sections to a file."""

    def __init__(self, file: BinaryIO, key: StateKey, header: StateHeader) -> None:
        self._file = file
        self._key = key
        self._next = 0
        raw = header.to_bytes()
        assert len(raw) <= MAX_HEADER_BYTES, "the writer chooses how many sections there are"
        start = _START.pack(MAGIC, VERSION, len(raw), key.id) + raw
        self._seal = hmac.digest(key.secret, start, hashlib.sha256)
        write_all(file, start + self._seal)

    def add(self, section: bytes | memoryview) -> None:
        write_all(self._file, section)
        write_all(self._file, _signature(self._key, self._seal, self._next, section))
        self._next += 1


@contextmanager
def new_state(
    path: Path,
    key: StateKey,
    fingerprint: Mapping[str, str],
    tokens: Sequence[int],
    notes: bytes,
    pieces: Sequence[int],
) -> Iterator[StateWriter]:
    """A file for these tokens, readable by this user only, to which the pieces are added.

    pieces: bytes of each that will be added. `path` appears once the block ends without an error.
    Raises OutputError.
    """
    raw = struct.pack(f"<{len(tokens)}i", *tokens)
    header = StateHeader(fingerprint, len(tokens), (len(raw), len(notes), *pieces))
    require_space(path.parent, header.body_bytes + MAX_HEADER_BYTES)
    with new_file(path, private=True) as file, output_errors(path):
        writer = StateWriter(file, key, header)
        writer.add(raw)
        writer.add(notes)
        yield writer


class StateReader:
    """Checks a file as it reads on; never holds more than one piece."""

    def __init__(
        self, path: Path, file: FileIO, key: StateKey, expected: Mapping[str, str]
    ) -> None:
        """expected: the fingerprint of who wants to use it. Raises IntegrityError."""
        self._path = path
        self._file = file
        self._key = key
        self._next = 0
        self._left_bytes = os.fstat(file.fileno()).st_size
        start, raw = self._take_header()
        seal = self._take(_SIGNATURE_BYTES)
        if not hmac.compare_digest(seal, hmac.digest(key.secret, start + raw, hashlib.sha256)):
            raise self._changed()
        self._seal = bytes(seal)
        self.header = StateHeader.read(raw, path)
        self._check_fingerprint(expected)
        if self.header.body_bytes != self._left_bytes:
            raise self._error(
                f"has {self._left_bytes} bytes after its header, expected {self.header.body_bytes}"
            )
        raw = self._section()
        self.tokens = list(struct.unpack(f"<{self.header.tokens}i", raw))
        self.notes = bytes(self._section())

    def pieces(self) -> Iterator[bytearray]:
        """Pieces of the cache, one at a time."""
        while self._next < len(self.header.sections):
            yield self._section()

    def _section(self) -> bytearray:
        payload = self._take(self.header.sections[self._next])
        signature = self._take(_SIGNATURE_BYTES)
        expected = _signature(self._key, self._seal, self._next, payload)
        if not hmac.compare_digest(signature, expected):
            raise self._changed()
        self._next += 1
        return payload

    def _take_header(self) -> tuple[bytearray, bytearray]:
        start = self._take(_START.size)
        magic, version, header_bytes, key_id = _START.unpack(start)
        if magic != MAGIC:
            raise self._error(f"is no saved conversation: it starts with {magic!r}")
        if version != VERSION:
            raise self._error(
                f"was saved by another edgellm: format {version}, this one reads {VERSION}"
            )
        if key_id != self._key.id:
            raise self._error("was saved by another user or on another machine")
        if header_bytes > MAX_HEADER_BYTES:
            raise self._error(
                f"claims a header of {header_bytes} bytes; at most {MAX_HEADER_BYTES} are allowed"
            )
        return start, self._take(header_bytes)

    def _take(self, count: int) -> bytearray:
        """Exactly `count` bytes; nothing is set aside for bytes that the file does not have."""
        if count > self._left_bytes:
            raise self._error(f"ends {count - self._left_bytes} bytes early: it was cut off")
        buffer, filled = bytearray(count), 0
        while filled < count:
            got = self._file.readinto(memoryview(buffer)[filled:])
            if not got:
                raise self._error(f"ends {count - filled} bytes early: it was cut off")
            filled += got
        self._left_bytes -= count
        return buffer

    def _check_fingerprint(self, expected: Mapping[str, str]) -> None:
        saved = self.header.fingerprint
        for name in {**expected, **saved}:
            theirs, ours = saved.get(name, "nothing"), expected.get(name, "nothing")
            if theirs != ours:
                raise self._error(f"was saved with {name} {theirs}; here it is {ours}")

    def _changed(self) -> IntegrityError:
        return self._error("was changed or damaged after it was saved")

    def _error(self, problem: str) -> IntegrityError:
        return IntegrityError(f"{self._path}: {problem}")


@contextmanager
def open_state(path: Path, key: StateKey, fingerprint: Mapping[str, str]) -> Iterator[StateReader]:
    """Open a file for who has this fingerprint.

    Raises IntegrityError for a file that is missing, changed, cut off, or another's.
    """
    if not path.is_file():
        raise IntegrityError(f"{path}: no such file")
    try:
        with path.open("rb", buffering=0) as file:
            yield StateReader(path, file, key, fingerprint)
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read: {error.strerror or error}") from error


def _signature(key: StateKey, seal: bytes, number: int, section: Section) -> bytes:
    made = hmac.new(key.secret, seal + _NUMBER.pack(number), hashlib.sha256)
    made.update(section)
    return made.digest()
