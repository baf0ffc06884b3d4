"""What a reference expects of a text, in one file: later comparisons need not load its model.

Layout, little-endian: MAGIC; u64 bytes of all that follows the header; u32 length of the header;
header, JSON. Then for each window the SHA-256 of its token ids and, for each position scored, u32
tokens kept, f32 tail probability, f64 log-probability of the following token; then the tokens,
likeliest first: u16 id (u32 where the vocabulary is larger), u16 -log-probability in steps of
STEP nats. Reading rescales the kept probabilities, so that with the tail they sum to 1 again.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgellm.closing import Closing
from edgellm.errors import FormatError, InputError
from edgellm.files import new_file, output_errors, write_all
from edgellm.json_file import parse_json
from edgellm.jsonfields import JsonObject
from edgellm.likeliest import Likeliest

MAGIC = b"edgellm reference\n"
STEP = 1 / 2048  # nats; of a log-probability; the least that is kept needs 22 of 32 nats
_VERSION = 1
_MAX_HEADER_BYTES = 1 << 16
_DIGEST_BYTES = 32
_TOLERANCE = 2 * STEP  # of a sum of probabilities, each rounded by half a step
_POSITION = np.dtype([("kept", "<u4"), ("tail", "<f4"), ("following", "<f8")])


@dataclass(frozen=True, slots=True)
class ReferenceHeader:
    """Which predictions of which model a file holds."""

    model: str  # the reference's name, for people
    model_sha256: str  # of its GGUF file
    text_sha256: str
    vocabulary_size: int
    window: int  # tokens
    first: int  # position of a window from which on predictions are kept
    windows: int
    tail: float  # probability that each prediction leaves out at most

    @property
    def predictions(self) -> int:
        """Of each window."""
        return self.window - 1 - self.first

    def to_json(self) -> dict[str, Any]:
        return {"version": _VERSION, **asdict(self)}

    @classmethod
    def read(cls, fields: JsonObject) -> "ReferenceHeader":
        names = tuple(cls.__dataclass_fields__)
        fields.only("version", *names)
        if fields.integer("version") != _VERSION:
            raise FormatError(fields.source, f"version is not {_VERSION}; save the reference again")
        header = cls(
            fields.text("model"),
            fields.text("model_sha256"),
            fields.text("text_sha256"),
            fields.integer("vocabulary_size", least=2),
            fields.integer("window", least=2),
            fields.integer("first"),
            fields.integer("windows", least=1),
            fields.number("tail"),
        )
        if header.predictions < 2:
            raise FormatError(fields.source, "first leaves less than two predictions of a window")
        return header


def is_saved_reference(path: Path) -> bool:
    """Whether the file says that it is one; False where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class ReferenceWriter:
    """Writes window after window; see `writing_reference`."""

    def __init__(self, path: Path, file: BinaryIO, header: ReferenceHeader) -> None:
        self._path = path
        self._file = file
        self._entry = _entry_dtype(header.vocabulary_size)
        self.written_bytes = 0

    def begin_window(self, tokens: Sequence[int]) -> None:
        self._write(_tokens_digest(tokens))

    def add(self, rows: Likeliest) -> None:
        """The next positions of the window begun last."""
        entries = np.empty(len(rows.tokens), self._entry)
        entries["token"] = rows.tokens
        entries["code"] = np.rint(np.log(rows.probabilities) / -STEP)
        positions = np.empty(len(rows), _POSITION)
        positions["kept"] = np.diff(rows.starts)
        positions["tail"], positions["following"] = rows.tails, rows.following
        parts = (
            part
            for i, (begin, end) in enumerate(zip(rows.starts[:-1], rows.starts[1:], strict=True))
            for part in (positions[i].tobytes(), entries[begin:end].tobytes())
        )
        self._write(b"".join(parts))

    def _write(self, payload: bytes) -> None:
        with output_errors(self._path):
            write_all(self._file, payload)
        self.written_bytes += len(payload)


@contextmanager
def writing_reference(path: Path, header: ReferenceHeader) -> Iterator[ReferenceWriter]:
    """Create or replace the file once every window is in it. Raises OutputError."""
    head = _header_bytes(header)
    with new_file(path) as file:
        with output_errors(path):
            write_all(file, head)
        writer = ReferenceWriter(path, file, header)
        yield writer
        with output_errors(path):
            file.seek(len(MAGIC))
            write_all(file, writer.written_bytes.to_bytes(8, "little"))


def _header_bytes(header: ReferenceHeader) -> bytes:
    text = json.dumps(header.to_json(), ensure_ascii=False).encode()
    return MAGIC + bytes(8) + len(text).to_bytes(4, "little") + text


class SavedReference(Closing):
    """A file of `writing_reference`, read front to back; a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises InputError when it cannot be read, FormatError when it is broken."""
        self._path = path
        try:
            self._file = path.open("rb")
            self._size_bytes = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise
        self._entry = _entry_dtype(self.header.vocabulary_size)

    def close(self) -> None:
        self._file.close()

    def begin_window(self, tokens: Sequence[int], text: str) -> None:
        """Go on to the next window; `text` names where it comes from. Raises InputError."""
        if self._take(_DIGEST_BYTES) != _tokens_digest(tokens):
            raise InputError(
                f"{self._path}: made from other tokens than the model makes of {text}; compare "
                "models of one family, on the text that the reference was saved with"
            )

    def take(self, count: int) -> Likeliest:
        """The next positions of the window begun last. Raises FormatError."""
        found = [self._position() for _ in range(count)]
        positions = np.array([position for position, _ in found], _POSITION)
        entries = np.concatenate([row for _, row in found])
        starts = np.concatenate([[0], np.cumsum(positions["kept"], dtype=np.intp)])
        tails = positions["tail"].astype(np.float64)
        raw = np.exp(-STEP * entries["code"].astype(np.float64))
        sums = np.add.reduceat(raw, starts[:-1])
        if not (np.abs(sums + tails - 1) < _TOLERANCE).all():
            raise self._fault("a prediction's probabilities do not sum to 1")
        scale = (1 - tails) / sums
        return Likeliest(
            starts,
            entries["token"].astype(np.intp),
            raw * np.repeat(scale, positions["kept"]),
            tails,
            positions["following"].astype(np.float64),
        )

    def _position(self) -> tuple[Any, NDArray[Any]]:
        position = np.frombuffer(self._take(_POSITION.itemsize), _POSITION)[0]
        kept, size = int(position["kept"]), self.header.vocabulary_size
        if not 1 <= kept <= size:
            raise self._fault(f"a prediction keeps {kept} tokens; expected 1 to {size}")
        if not (0 <= position["tail"] < 1 and -math.inf < position["following"] <= 0):
            raise self._fault("a prediction has an impossible probability")
        entries = np.frombuffer(self._take(kept * self._entry.itemsize), self._entry)
        self._check(entries)
        return position, entries

    def _check(self, entries: NDArray[Any]) -> None:
        tokens, codes = np.sort(entries["token"]), entries["code"]
        if tokens[-1] >= self.header.vocabulary_size:
            size = self.header.vocabulary_size
            raise self._fault(f"token {tokens[-1]} in a vocabulary of {size}")
        if (tokens[1:] == tokens[:-1]).any():
            raise self._fault("a prediction keeps a token twice")
        if (codes[1:] < codes[:-1]).any():
            raise self._fault("a prediction's tokens are not in order")

    def _read_header(self) -> ReferenceHeader:
        magic = self._take(min(len(MAGIC), self._size_bytes))
        if magic != MAGIC:
            raise self._fault(f"not a saved reference: it starts with {magic!r}")
        payload_bytes, length = (int.from_bytes(self._take(count), "little") for count in (8, 4))
        if length > _MAX_HEADER_BYTES:
            raise self._fault(f"a header of {length} bytes; at most {_MAX_HEADER_BYTES} are read")
        document = parse_json(self._take(length), self._path)
        header = ReferenceHeader.read(JsonObject.at(str(self._path), "", document))
        there_bytes = self._size_bytes - self._file.tell()
        if there_bytes != payload_bytes:
            raise self._fault(
                f"{there_bytes} bytes of predictions, the header says {payload_bytes}; it is "
                "truncated or was changed, save the reference again"
            )
        least = header.windows * (_DIGEST_BYTES + header.predictions * (_POSITION.itemsize + 4))
        if payload_bytes < least:
            raise self._fault(f"{header.windows} windows in {payload_bytes} bytes")
        return header

    def _take(self, count: int) -> bytes:
        if count > self._size_bytes - self._file.tell():
            raise self._fault("the file ends too early; save the reference again")
        try:
            found = self._file.read(count)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read: {error.strerror}") from error
        if len(found) < count:
            raise self._fault("the file became shorter while it was read")
        return found

    def _fault(self, problem: str) -> FormatError:
        return FormatError(self._path, problem, self._file.tell())


def _tokens_digest(tokens: Sequence[int]) -> bytes:
    return hashlib.sha256(np.asarray(tokens, "<u4").tobytes()).digest()


def _entry_dtype(vocabulary_size: int) -> "np.dtype[Any]":
    return np.dtype([("token", "<u2" if vocabulary_size <= 1 << 16 else "<u4"), ("code", "<u2")])
