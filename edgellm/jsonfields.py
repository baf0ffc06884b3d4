"""Strict reads of edgellm's own JSON documents: every field is there, and no other.

What strangers write is read by `edgellm.checkpoint.fields`, where null is absent and the unknown
is ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edgellm.errors import FormatError
from edgellm.json_file import show

_LARGEST_INTEGER = 2**63 - 1
_LONGEST_KEY = 40  # shown as it is
_LARGEST_NUMBER = 1e300  # a longer integer would not become a float


@dataclass(frozen=True, slots=True)
class JsonObject:
    """One object of a document, read field by field."""

    source: str  # the document, for errors
    path: str  # the object's place in it, such as "weights.tensors[3]"; empty at the top
    values: Mapping[str, object]

    @classmethod
    def at(cls, source: str, path: str, value: object) -> "JsonObject":
        """`value` as an object. Raises FormatError for any other type."""
        if not isinstance(value, dict):
            where = path or "the document"
            raise FormatError(source, f"{where} is {show(value, 40)}; expected an object")
        return cls(source, path, value)

    def only(self, *keys: str) -> "JsonObject":
        """This object, which has no field but `keys`."""
        if unknown := sorted(set(self.values) - set(keys)):
            key, known = str(unknown[0]), ", ".join(keys)
            is_plain = key.isprintable() and len(key) <= _LONGEST_KEY
            raise self._fault(
                key if is_plain else show(key, _LONGEST_KEY), f"is unknown; known fields: {known}"
            )
        return self

    def has(self, key: str) -> bool:
        """Whether a field that may be absent or null is neither."""
        return self.values.get(key) is not None

    def integer(self, key: str, least: int = 0) -> int:
        value = self._get(key)
        if isinstance(value, int) and type(value) is int and least <= value <= _LARGEST_INTEGER:
            return value
        raise self._fault(key, f"is {show(value, 40)}; expected an integer of at least {least}")

    def number(self, key: str) -> float:
        """A finite number that is not negative."""
        value = self._get(key)
        if (
            isinstance(value, int | float)
            and type(value) is not bool
            and 0 <= value <= _LARGEST_NUMBER
        ):
            return float(value)
        raise self._fault(key, f"is {show(value, 40)}; expected a number of at least 0")

    def number_or_null(self, key: str) -> float | None:
        return None if self._get(key) is None else self.number(key)

    def text(self, key: str) -> str:
        value = self._get(key)
        if isinstance(value, str) and value:
            return value
        raise self._fault(key, f"is {show(value, 40)}; expected text")

    def flag(self, key: str) -> bool:
        value = self._get(key)
        if isinstance(value, bool):
            return value
        raise self._fault(key, f"is {show(value, 40)}; expected true or false")

    def child(self, key: str) -> "JsonObject":
        return JsonObject.at(self.source, self._path(key), self._get(key))

    def children(self, key: str) -> list["JsonObject"]:
        value = self._get(key)
        if not isinstance(value, list):
            raise self._fault(key, f"is {show(value, 40)}; expected a list")
        path = self._path(key)
        return [JsonObject.at(self.source, f"{path}[{i}]", item) for i, item in enumerate(value)]

    def _get(self, key: str) -> object:
        if key not in self.values:
            raise self._fault(key, "is missing")
        return self.values[key]

    def _path(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _fault(self, key: str, problem: str) -> FormatError:
        return FormatError(self.source, f"{self._path(key)} {problem}")
