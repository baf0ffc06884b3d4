"""Turns one TOML table into one frozen dataclass, by the types the dataclass declares."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar, get_args, get_origin, get_type_hints

from edgellm.errors import FormatError

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, for errors."""

    path: Path
    row: str

    def fault(self, problem: str) -> FormatError:
        return FormatError(self.path, f"[{self.row}] {problem}")


def read_row(
    row_type: type[Row], table: object, place: Place, given: Mapping[str, object] | None = None
) -> Row:
    """Build `row_type` from the keys of `table`, each of exactly the declared type.

    given: fields that are not keys of the table, and defaults of keys that may be left out.
    Raises FormatError for a missing key, an unknown key or a value of another type.
    """
    if not isinstance(table, dict):
        raise place.fault("is not a table")
    types = get_type_hints(row_type)
    if unknown := sorted(set(table) - set(types)):
        raise place.fault(f"key {unknown[0]} is unknown; known keys: {', '.join(types)}")
    values = {**(given or {}), **table}
    optional = {f.name for f in fields(row_type) if f.default is not MISSING}  # type: ignore[arg-type]
    if missing := sorted(set(types) - set(values) - optional):
        raise place.fault(f"key {missing[0]} is missing")
    return row_type(**{key: _typed(value, types[key], key, place) for key, value in values.items()})


def _typed(value: object, expected: object, key: str, place: Place) -> object:
    """`value` where its type is `expected`; TOML's integers also serve where a float is due."""
    if expected is float and type(value) is int:
        return float(value)
    if get_origin(expected) is tuple and isinstance(value, list):
        return tuple(_typed(item, get_args(expected)[0], key, place) for item in value)
    if get_origin(expected) is Mapping and isinstance(value, dict):
        of = get_args(expected)[1]
        return MappingProxyType({k: _typed(v, of, f"{key}.{k}", place) for k, v in value.items()})
    accepted = (str, type(None)) if expected == str | None else (expected,)
    if type(value) not in accepted:
        raise place.fault(f"{key} is {value!r}; expected {getattr(expected, '__name__', expected)}")
    return value
