"""Reads the parts of a JSON Schema, and refuses by name what is not known."""

import json
from collections.abc import Iterator, Mapping, Set
from types import MappingProxyType
from typing import cast

from edgellm.errors import UsageError
from edgellm.runtimes.grammars.json_text import MOST_WHOLE
from edgellm.runtimes.grammars.schema_overlap import Schema

MAX_BYTES = 64 << 10
MAX_DEPTH = 32
MAX_NODES = 2000  # objects and arrays of the schema's own text
MAX_COUNT = 1_000_000  # of characters or items, as a schema may bound them
_SHOWN = 200  # characters of a schema's own names in an error

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$schema", "$id", "$comment", "$defs", "definitions"}
)
KEYWORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "object": frozenset({"properties", "required", "additionalProperties"}),
        "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
        "string": frozenset({"minLength", "maxLength", "format"}),
        "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
        "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
        "boolean": frozenset(),
        "null": frozenset(),
    }
)


def parse_schema(text: str) -> Schema:
    if len(text) > MAX_BYTES:
        raise UsageError(f"the JSON schema has {len(text)} characters; at most {MAX_BYTES}")
    try:
        schema = json.loads(text, parse_constant=_no_number)
        json.dumps(schema, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UsageError("the JSON schema has half a surrogate in a text") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the JSON schema is not JSON: {error}") from None
    if sum(1 for _ in _nodes(schema, 0)) > MAX_NODES:
        raise UsageError(f"the JSON schema has more than {MAX_NODES} objects and arrays")
    return cast(Schema, schema)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _nodes(value: object, depth: int) -> Iterator[object]:
    if depth > MAX_DEPTH:
        raise UsageError(f"the JSON schema is nested more than {MAX_DEPTH} deep")
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _nodes(inner, depth + 1)


def schema_error(where: str, problem: str) -> UsageError:
    line = f"JSON schema, {where[:_SHOWN]}: {problem[:_SHOWN]}"
    return UsageError("".join(c if c.isprintable() else "?" for c in line))


def check_keywords(schema: Schema, where: str, known: Set[str]) -> None:
    if unknown := sorted(schema.keys() - known - ANNOTATIONS):
        these = ", ".join(sorted(known)) or "none"
        raise schema_error(where, f"{unknown[0]} is not supported here; supported: {these}")


def kinds_of(schema: Schema, where: str) -> tuple[str, ...]:
    """The types a schema allows: those it names, or those its keywords are about."""
    if "type" not in schema:
        about = (kind for kind, words in KEYWORDS.items() if words & schema.keys())
        # The keywords of whole numbers are those of all numbers.
        return tuple(kind for kind in about if kind != "integer")
    named = schema["type"]
    kinds = named if isinstance(named, list) else [named]
    if not kinds or not all(isinstance(kind, str) and kind in KEYWORDS for kind in kinds):
        raise schema_error(f"{where}/type", f"expected {', '.join(KEYWORDS)} or a list of them")
    return tuple(dict.fromkeys(kinds))


def is_kind(kind: str, value: object) -> bool:
    """Whether a JSON value is of a type."""
    if kind == "null":
        return value is None
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind == "number":
        return isinstance(value, (int, float))
    types = {"object": dict, "array": list, "string": str}
    return kind in types and isinstance(value, types[kind])


def members(schema: Schema, where: str) -> tuple[Schema, frozenset[str]]:
    """(properties, names of those that must be there) of an object's schema."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict):
        raise schema_error(f"{where}/properties", "expected an object")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise schema_error(f"{where}/required", "expected a list of names")
    others = schema.get("additionalProperties", True)
    undeclared = {name: others for name in required if name not in properties}
    if undeclared and others is False:
        raise schema_error(f"{where}/required", f"{next(iter(undeclared))!r} is no property")
    return properties | undeclared, frozenset(required)


def counts(schema: Schema, of: str, where: str) -> tuple[int, int | None]:
    """(min, max) of Items or Length."""
    least, most = schema.get(f"min{of}", 0), schema.get(f"max{of}")
    for name, count in ((f"min{of}", least), (f"max{of}", most)):
        whole = isinstance(count, int) and not isinstance(count, bool)
        if count is not None and not (whole and 0 <= cast(int, count) <= MAX_COUNT):
            raise schema_error(f"{where}/{name}", f"expected a whole number up to {MAX_COUNT}")
    if most is not None and cast(int, most) < cast(int, least):
        raise schema_error(where, f"max{of} is less than min{of}")
    return cast(int, least), cast("int | None", most)


def bounds(schema: Schema, where: str) -> tuple[float, float, bool, bool]:
    """(low, high, whether low is left out, whether high is), no further out than numbers go."""
    read: dict[str, float] = {}
    for name in KEYWORDS["number"] & schema.keys():
        value = schema[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise schema_error(f"{where}/{name}", "expected a number")
        read[name] = value
    lows: list[tuple[float, bool]] = [(-MOST_WHOLE, False)]
    lows += [(read[name], name != "minimum") for name in read if name.endswith("inimum")]
    highs: list[tuple[float, bool]] = [(MOST_WHOLE, False)]
    highs += [(read[name], name != "maximum") for name in read if name.endswith("aximum")]
    low, above = max(lows)
    high, not_below = min((value, not is_open) for value, is_open in highs)
    return low, high, above, not not_below
