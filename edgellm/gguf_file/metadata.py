"""The metadata pairs of a GGUF file: scalars are read, arrays are walked over and described."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgellm.gguf_file.cursor import Cursor

ALIGNMENT_KEY = "general.alignment"
MAX_KEY_BYTES = 65_536
MAX_ARRAY_ELEMENTS = 16_000_000
MAX_METADATA_BYTES = 128 << 20
KEPT_ARRAY_ELEMENTS = 256  # longer arrays are described, not loaded
KEPT_ARRAY_BYTES = 65_536

_U32, _STRING, _ARRAY = 4, 8, 9
# GGUF value type: name and layout of the types with a fixed size.
_NUMBERS: Mapping[int, tuple[str, struct.Struct]] = MappingProxyType(
    {
        0: ("u8", struct.Struct("<B")),
        1: ("i8", struct.Struct("<b")),
        2: ("u16", struct.Struct("<H")),
        3: ("i16", struct.Struct("<h")),
        4: ("u32", struct.Struct("<I")),
        5: ("i32", struct.Struct("<i")),
        6: ("f32", struct.Struct("<f")),
        7: ("bool", struct.Struct("<?")),
        10: ("u64", struct.Struct("<Q")),
        11: ("i64", struct.Struct("<q")),
        12: ("f64", struct.Struct("<d")),
    }
)
_LAYOUTS = MappingProxyType(dict(_NUMBERS.values()))

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class GGUFArray:
    """An array of the metadata that was checked and left in the file."""

    element_type: str  # "u8" ... "f64", "bool", "str"
    count: int
    offset: int  # of the first element, from the start of the file
    bytes: int


Value = Scalar | tuple[Scalar, ...] | GGUFArray


def read_pairs(cursor: Cursor, count: int) -> dict[str, Scalar | GGUFArray]:
    """Read `count` pairs. Raises FormatError, also for a key that appears twice."""
    pairs: dict[str, Scalar | GGUFArray] = {}
    for index in range(count):
        key = cursor.text(f"metadata key {index}", MAX_KEY_BYTES)
        if not key:
            raise cursor.error(f"metadata key {index} is empty")
        shown = repr(key[:80])
        if key in pairs:
            raise cursor.error(f"metadata key {shown} appears twice")
        pairs[key] = _value(cursor, shown, must_be_u32=key == ALIGNMENT_KEY)
        if cursor.position > MAX_METADATA_BYTES:
            raise cursor.error(f"metadata is longer than {MAX_METADATA_BYTES} bytes")
    return pairs


def load_short_array(cursor: Cursor, array: GGUFArray) -> tuple[Scalar, ...] | GGUFArray:
    """The elements, where the array is short enough to be a setting rather than a table."""
    if array.count > KEPT_ARRAY_ELEMENTS or array.bytes > KEPT_ARRAY_BYTES:
        return array
    cursor.seek(array.offset)
    if array.element_type == "str":
        strings = cursor.strings(array.count, "an array element")
        return tuple(element.decode("utf-8", "replace") for element in strings)
    raw = cursor.take(array.bytes, "array elements")
    return tuple(value for (value,) in _LAYOUTS[array.element_type].iter_unpack(raw))


def _value(cursor: Cursor, key: str, must_be_u32: bool) -> Scalar | GGUFArray:
    """key: as errors show it, quoted and cut."""
    kind = cursor.u32(f"the type of {key}")
    if must_be_u32 and kind != _U32:
        raise cursor.error(f"metadata key {key} has value type {kind}, expected {_U32} (u32)")
    if kind == _ARRAY:
        return _array(cursor, key)
    if kind == _STRING:
        return cursor.text(f"the value of {key}")
    if kind not in _NUMBERS:
        raise cursor.error(f"metadata key {key} has unknown type {kind}")
    return cursor.number(_NUMBERS[kind][1], f"the value of {key}")


def _array(cursor: Cursor, key: str) -> GGUFArray:
    """Walk over an array, checking that all of it is there."""
    kind = cursor.u32(f"the element type of {key}")
    count = cursor.u64(f"the length of {key}")
    if kind != _STRING and kind not in _NUMBERS:
        reason = "nested arrays are not allowed" if kind == _ARRAY else f"unknown type {kind}"
        raise cursor.error(f"array {key} has unusable elements: {reason}")
    if count > MAX_ARRAY_ELEMENTS:
        raise cursor.error(f"array {key} claims {count} elements; limit {MAX_ARRAY_ELEMENTS}")
    name, layout = ("str", struct.Struct("<Q")) if kind == _STRING else _NUMBERS[kind]
    if count * layout.size > cursor.remaining_bytes:
        raise cursor.error(f"array {key} claims {count} elements, more than the file can hold")
    start = cursor.position
    if kind == _STRING:
        cursor.skip_strings(count, f"an element of {key}")
    else:
        cursor.skip(count * layout.size, f"the elements of {key}")
    return GGUFArray(name, count, start, cursor.position - start)
