"""Typed reads of a stranger's JSON object; every fault names the file and the field.

edgellm's own documents are read more strictly, by `edgellm.jsonfields`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import FormatError
from edgellm.json_file import show

MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a JSON object. A null counts as absent; bool is never a number."""

    path: Path
    values: Mapping[str, object]
    prefix: str = ""  # "rope_scaling." for the fields of a nested object

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def mentions(self, name: str) -> bool:
        """Whether the field is written at all, null included."""
        return name in self.values

    def integer(
        self, name: str, default: int | None = None, low: int = 1, high: int = MAX_INTEGER
    ) -> int:
        """An integer in [low, high]; required when there is no default."""
        found = self.optional_integer(name, low, high)
        if found is not None:
            return found
        return self._required(name) if default is None else default

    def optional_integer(self, name: str, low: int = 1, high: int = MAX_INTEGER) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        return self._integer(name, value, low, high)

    def integers(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> tuple[int, ...]:
        """One integer, or a list of them; () when absent."""
        value = self.values.get(name)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        return tuple(self._integer(name, item, low, high) for item in items)

    def number(self, name: str, default: float | None = None, *, low: float, high: float) -> float:
        """A finite number in [low, high]; required when there is no default."""
        found = self.optional_number(name, low=low, high=high)
        if found is not None:
            return found
        return self._required(name) if default is None else default

    def optional_number(self, name: str, *, low: float, high: float) -> float | None:
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(name, "a number")
        # Compared before conversion: a JSON integer may be too large for a float.
        if not low <= value <= high:
            raise self.fault(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def boolean(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fault(name, "true or false")
        return value

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.fault(name, "a string")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings; () when absent."""
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(name, "a list of strings")
        return tuple(value)

    def section(self, name: str) -> "Fields | None":
        """The fields of a nested object; None when absent."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.fault(name, "an object")
        return Fields(self.path, value, f"{self.prefix}{name}.")

    def fault(self, name: str, expected: str) -> FormatError:
        """The error for a field whose value is not what it has to be."""
        got = show(self.values.get(name))
        return FormatError(self.path, f"{self.prefix}{name} is {got}; expected {expected}")

    def _integer(self, name: str, value: object, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fault(name, f"an integer from {low} to {high}")
        return value

    def _required(self, name: str) -> int:
        raise FormatError(self.path, f"{self.prefix}{name} is missing")
