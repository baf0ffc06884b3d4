"""Whether two JSON Schemas can hold for one value, written as runtimes/structure.py writes it."""

from collections.abc import Callable

Schema = dict[str, object]
Resolve = Callable[[object], object]  # what a reference leads to; None for none
_DEPTH = 8  # how far into properties and references to look for a difference


def never_both(one: object, other: object, resolve: Resolve, depth: int = _DEPTH) -> bool:
    """Whether no value written for one of them fulfils the other; False when that is not seen."""
    one, other = _resolved(one, resolve), _resolved(other, resolve)
    if depth == 0 or one is None or other is None:
        return False
    left, right = _values(one), _values(other)
    if left is not None and right is not None:
        return not any(value == another for value in left for another in right)
    mine, yours = _kinds(one), _kinds(other)
    if not mine & yours:
        return bool(mine and yours)
    if mine | yours != {"object"}:
        return False
    return _never_fits(one, other, resolve, depth) and _never_fits(other, one, resolve, depth)


def _never_fits(one: Schema, other: Schema, resolve: Resolve, depth: int) -> bool:
    """Whether objects written for `one` lack what `other` asks for."""
    written, expected = _properties(one), _properties(other)
    is_closed = bool(written) and one.get("additionalProperties", False) is False
    if is_closed and not _required(other) <= written.keys() | _required(one):
        return True
    return any(
        never_both(written.get(name, True), expected[name], resolve, depth - 1)
        for name in _required(one) & expected.keys()
    )


def _resolved(schema: object, resolve: Resolve) -> Schema | None:
    for _ in range(_DEPTH):
        if not isinstance(schema, dict):
            return None
        if "$ref" not in schema:
            return schema
        schema = resolve(schema["$ref"])
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
