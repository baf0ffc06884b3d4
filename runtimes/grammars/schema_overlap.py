"""Whether two JSON Schemas can hold for one value, written as structure.py writes it."""

from collections.abc import Callable

Schema = dict[str, object]
Resolve = Callable[[object], object]  # what a reference leads to; None for none
_DEPTH = 8  # how far into properties and references to look for a difference
_STEPS = 5_000  # comparisons in all; schemas that refer to themselves could ask for any number


class Overlap:
    """Compares schemas of one document; what is not seen within the steps counts as overlap."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._left = _STEPS

    def never_both(self, one: object, other: object, depth: int = _DEPTH) -> bool:
        """Whether no value written for one of them fulfils the other."""
        left, right = self._resolved(one), self._resolved(other)
        if depth == 0 or left is None or right is None:
            return False
        mine, yours = _values(left), _values(right)
        self._left -= 1 + len(mine or ()) * len(yours or ())
        if self._left < 0:
            return False
        if mine is not None and yours is not None:
            return not any(value == another for value in mine for another in yours)
        kinds, others = _kinds(left), _kinds(right)
        if not kinds & others:
            return bool(kinds and others)
        if kinds | others != {"object"}:
            return False
        return self._never_fits(left, right, depth) and self._never_fits(right, left, depth)

    def _never_fits(self, one: Schema, other: Schema, depth: int) -> bool:
        """Whether objects written for `one` lack what `other` asks for."""
        written, expected = _properties(one), _properties(other)
        is_closed = bool(written) and one.get("additionalProperties", False) is False
        if is_closed and not _required(other) <= written.keys() | _required(one):
            return True
        return any(
            self.never_both(written.get(name, True), expected[name], depth - 1)
            for name in sorted(_required(one) & expected.keys())
        )

    def _resolved(self, schema: object) -> Schema | None:
        for _ in range(_DEPTH):
            if not isinstance(schema, dict):
                return None
            if "$ref" not in schema:
                return schema
            schema = self._resolve(schema["$ref"])
        return None


def _values(schema: Schema) -> list[object] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _kinds(schema: Schema) -> set[object]:
    """Types by name, whole numbers as numbers; empty where the schema does not say."""
    named = schema.get("type", [_kind(value) for value in _values(schema) or ()])
    kinds = named if isinstance(named, list) else [named]
    return {"number" if kind == "integer" else kind for kind in kinds if isinstance(kind, str)}


def _kind(value: object) -> str:
    names = {bool: "boolean", str: "string", list: "array", dict: "object"}
    return "null" if value is None else names.get(type(value), "number")


def _properties(schema: Schema) -> Schema:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _required(schema: Schema) -> set[str]:
    found = schema.get("required")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
