"""Whether a JSON value fulfils a schema, read from the specification and by no grammar."""

from collections.abc import Mapping
from typing import Any

TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def fulfils(value: Any, schema: Any, root: Any = None) -> bool:
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        target = root
        for step in schema["$ref"].split("/")[1:]:
            target = target[step]
        return fulfils(value, target, root)
    return (
        _typed(value, schema)
        and ("const" not in schema or value == schema["const"])
        and ("enum" not in schema or value in schema["enum"])
        and _combined(value, schema, root)
        and _sized(value, schema)
        and _within(value, schema, root)
    )


def _typed(value: Any, schema: Any) -> bool:
    named = schema.get("type", list(TYPES))
    names = named if isinstance(named, list) else [named]
    is_bool = isinstance(value, bool)
    return any(isinstance(value, TYPES[name]) and is_bool <= (name == "boolean") for name in names)


def _combined(value: Any, schema: Any, root: Any) -> bool:
    holds = {
        word: [fulfils(value, each, root) for each in schema.get(word, ())]
        for word in ("anyOf", "oneOf", "allOf")
    }
    return (
        all(holds["allOf"])
        and ("anyOf" not in schema or any(holds["anyOf"]))
        and ("oneOf" not in schema or sum(holds["oneOf"]) == 1)
    )


def _sized(value: Any, schema: Any) -> bool:
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9))
    if isinstance(value, list):
        return bool(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return bool(
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and schema.get("exclusiveMinimum", value - 1) < value
            and value < schema.get("exclusiveMaximum", value + 1)
        )
    return True


def _within(value: Any, schema: Any, root: Any) -> bool:
    if isinstance(value, dict):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        return set(schema.get("required", ())) <= value.keys() and all(
            fulfils(inner, known.get(name, rest), root) for name, inner in value.items()
        )
    if isinstance(value, list):
        first, rest = schema.get("prefixItems", []), schema.get("items", True)
        return all(
            fulfils(inner, first[at] if at < len(first) else rest, root)
            for at, inner in enumerate(value)
        )
    return True
