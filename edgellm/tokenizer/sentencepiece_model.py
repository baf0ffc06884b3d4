"""Reading a sentencepiece `tokenizer.model` without protobuf.

The file is one protobuf message; only the fields that decide token ids are kept. Field numbers are
those of sentencepiece_model.proto, absent fields take that file's defaults.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.json_file import file_bytes
from edgellm.units import format_bytes

MAX_MODEL_BYTES = 12 << 20  # 256k pieces take 5 MB
MAX_PIECES = 1 << 19

Value = int | bytes


class PieceType(IntEnum):
    """What a piece is; the numbers are sentencepiece's, which GGUF took over."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Algorithm(IntEnum):
    """How a sentencepiece model segments text."""

    UNIGRAM = 1
    BPE = 2
    WORD = 3
    CHAR = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of the vocabulary; its id is its position."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True, slots=True)
class SentencePieceModel:
    """What a `tokenizer.model` says."""

    pieces: tuple[Piece, ...]
    algorithm: Algorithm
    byte_fallback: bool
    space_is_suffix: bool  # treat_whitespace_as_suffix
    charsmap: bytes  # precompiled normalization rules; empty for "identity"
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool
    unk_id: int  # the four are -1 where the model has none
    bos_id: int
    eos_id: int
    pad_id: int


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a `tokenizer.model`. Raises InputError or FormatError."""
    size_bytes = file_bytes(path)
    if size_bytes > MAX_MODEL_BYTES:
        raise FormatError(
            path, f"{format_bytes(size_bytes)}; at most {format_bytes(MAX_MODEL_BYTES)} is read"
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return _model(raw)
    except ValueError as error:
        raise FormatError(path, f"not a sentencepiece model: {error}") from error


def require_supported(path: Path, model: SentencePieceModel) -> None:
    """Raises UnsupportedError for a model that llama.cpp cannot run exactly."""
    what = ""
    if model.algorithm is not Algorithm.BPE:
        what = f"{model.algorithm.name.lower()} model"
    elif not model.byte_fallback:
        what = "model without byte fallback"
    elif model.space_is_suffix:
        what = "model with treat_whitespace_as_suffix"
    elif not model.escape_whitespaces:
        what = "model without escape_whitespaces"
    if what:
        raise UnsupportedError(
            f"{path}: a sentencepiece {what}, which llama.cpp cannot run exactly",
            ("sentencepiece BPE with byte fallback",),
        )


def _model(raw: bytes) -> SentencePieceModel:
    pieces: list[Piece] = []
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    for count, (field, value) in enumerate(_fields(raw)):
        if count > MAX_PIECES:
            raise ValueError(f"more than {MAX_PIECES} pieces")
        if field == 1:
            pieces.append(_piece(_bytes(value)))
        elif field == 2:
            trainer.update(_fields(_bytes(value)))
        elif field == 3:
            normalizer.update(_fields(_bytes(value)))
    if not pieces:
        raise ValueError("it has no pieces")
    return SentencePieceModel(
        pieces=tuple(pieces),
        algorithm=Algorithm(_int(trainer.get(3, Algorithm.UNIGRAM))),
        byte_fallback=bool(trainer.get(35, 0)),
        space_is_suffix=bool(trainer.get(24, 0)),
        charsmap=_bytes(normalizer.get(2, b"")),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        escape_whitespaces=bool(normalizer.get(5, 1)),
        unk_id=_signed(trainer.get(40, 0)),
        bos_id=_signed(trainer.get(41, 1)),
        eos_id=_signed(trainer.get(42, 2)),
        pad_id=_signed(trainer.get(43, -1)),
    )


def _piece(raw: bytes) -> Piece:
    text, score, kind = b"", 0.0, PieceType.NORMAL
    for field, value in _fields(raw):
        if field == 1:
            text = _bytes(value)
        elif field == 2:
            score = _float(value)
        elif field == 3:
            kind = PieceType(_int(value))
    if not math.isfinite(score):
        raise ValueError(f"the score of piece {text[:40]!r} is {score}")
    return Piece(text.decode("utf-8"), score, kind)


def _fields(raw: bytes) -> Iterator[tuple[int, Value]]:
    """The fields of one protobuf message: varints as int, everything else as bytes."""
    position, end = 0, len(raw)
    while position < end:
        tag, position = _varint(raw, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(raw, position)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, position = _varint(raw, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if length > end - position:
            raise ValueError(f"a field of {length} bytes, {end - position} are left")
        yield tag >> 3, raw[position : position + length]
        position += length


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if position >= len(raw):
            raise ValueError("it ends inside a number")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number is longer than 64 bits")


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text was expected")
    return value


def _float(value: Value) -> float:
    raw = _bytes(value)
    if len(raw) != 4:
        raise ValueError(f"a 32-bit number of {len(raw)} bytes")
    (number,) = struct.unpack("<f", raw)
    return float(number)


def _int(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("text where a number was expected")
    return value


def _signed(value: Value) -> int:
    """Protobuf writes a negative int32 as its 64-bit two's complement."""
    number = _int(value)
    return number - (1 << 64) if number >> 63 else number
