"""From a JSON Schema to a grammar: answers that follow it are JSON texts that fulfil it.

The grammar may allow less than the schema: an object whose properties are named has no others
unless `additionalProperties` asks for them, names and values are written in one way where JSON
has several, and spaces are few. It never allows more: a keyword that it could not keep is refused.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import unquote

from edgellm.errors import UsageError
from edgellm.runtimes.grammars.gbnf import check_grammar
from edgellm.runtimes.grammars.json_text import (
    PRIMITIVES,
    constant,
    constants,
    decimals,
    is_plain,
    literal,
    plain_except,
    repeated,
    whole_numbers,
)
from edgellm.runtimes.grammars.schema_overlap import Overlap, Schema
from edgellm.runtimes.grammars.schema_reading import (
    ANNOTATIONS,
    KEYWORDS,
    bounds,
    check_keywords,
    counts,
    is_kind,
    kinds_of,
    members,
    parse_schema,
    schema_error,
)

MAX_NAME = 200  # characters of a property's, where others are to be told from it

_FORMATS = ("date", "time", "date-time", "uuid")
# Keywords that say everything themselves, and what may stand beside them.
_WHOLE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "$ref": frozenset(),
        "const": frozenset({"type"}),
        "enum": frozenset({"type"}),
        "anyOf": frozenset(),
        "oneOf": frozenset(),
        "allOf": frozenset(),
    }
)


def grammar_of(json_schema: str) -> str:
    """GBNF of the JSON texts to write for this schema.

    Known: type, properties, required, additionalProperties, items, prefixItems, minItems, maxItems,
    minLength, maxLength, format (date, time, date-time, uuid), minimum, maximum, exclusiveMinimum,
    exclusiveMaximum, enum, const, anyOf, oneOf where no two can hold at once, allOf of one schema,
    $ref within the schema, and annotations. Raises UsageError for anything else.
    """
    grammar = _Compiler(parse_schema(json_schema)).grammar()
    try:
        check_grammar(grammar)
    except UsageError as error:
        raise UsageError(f"the JSON schema cannot be followed: {error}") from error
    return grammar


class _Compiler:
    """Turns each part of one schema into a rule; equal rules are kept once."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema
        self._overlap = Overlap(self._target_or_none)
        self._rules: dict[str, str] = {}
        self._names: dict[str, str] = {}  # of rules by their body
        self._targets: dict[str, str] = {}  # of rules by the reference that leads there
        self._waiting: list[str] = []  # references whose rule is not there yet

    def grammar(self) -> str:
        self._rules["root"] = self._value(self._root, "#")
        while self._waiting:
            reference = self._waiting.pop()
            target = self._target(reference, reference)
            self._rules[self._targets[reference]] = self._value(target, reference)
        return "".join(f"{name} ::= {body}\n" for name, body in self._rules.items())

    def _value(self, schema: object, where: str) -> str:
        """The name of the rule for a schema."""
        if schema is True:
            return self._primitive("value")
        if not isinstance(schema, dict):
            raise schema_error(where, f"{json.dumps(schema)[:40]} allows nothing or is no schema")
        if not schema.keys() - ANNOTATIONS:
            return self._primitive("value")
        for keyword, beside in _WHOLE.items():
            if keyword in schema:
                check_keywords(schema, where, {keyword} | beside)
                return self._whole(keyword, schema, f"{where}/{keyword}")
        kinds = kinds_of(schema, where)
        check_keywords(schema, where, {"type"}.union(*(KEYWORDS[kind] for kind in kinds)))
        return self._rule(" | ".join(self._kind(kind, schema, where) for kind in kinds))

    def _whole(self, keyword: str, schema: Schema, where: str) -> str:
        if keyword == "$ref":
            return self._reference(schema["$ref"], where)
        if keyword in ("const", "enum"):
            return self._rule(self._constants(schema, where))
        alternatives = schema[keyword]
        if not isinstance(alternatives, list) or not alternatives:
            raise schema_error(where, "expected a list of schemas")
        if keyword == "allOf" and len(alternatives) > 1:
            raise schema_error(
                where, "several schemas at once are not supported; merge them into one"
            )
        if keyword == "oneOf":
            self._check_apart(alternatives, where)
        rules = [self._value(each, f"{where}/{at}") for at, each in enumerate(alternatives)]
        return self._rule(" | ".join(dict.fromkeys(rules)))

    def _check_apart(self, alternatives: list[object], where: str) -> None:
        for at, one in enumerate(alternatives):
            for other in range(at):
                if not self._overlap.never_both(one, alternatives[other]):
                    raise schema_error(
                        where, f"{other} and {at} may both hold; use anyOf, or tell them apart"
                    )

    def _constants(self, schema: Schema, where: str) -> str:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        if not isinstance(values, list) or not values:
            raise schema_error(where, "expected a list of values")
        kinds = kinds_of(schema, where) if "type" in schema else tuple(KEYWORDS)
        fitting = [value for value in values if any(is_kind(kind, value) for kind in kinds)]
        if not fitting:
            raise schema_error(where, "none of the values has the type beside them")
        try:
            return constants(fitting)
        except ValueError as error:
            raise schema_error(where, str(error)) from None

    def _reference(self, reference: object, where: str) -> str:
        if not isinstance(reference, str):
            raise schema_error(where, "expected a text")
        if reference not in self._targets:
            self._target(reference, where)
            self._targets[reference] = f"ref-{len(self._targets)}"
            self._waiting.append(reference)
        return self._targets[reference]

    def _target_or_none(self, reference: object) -> object:
        return self._target(reference, "#") if isinstance(reference, str) else None

    def _target(self, reference: str, where: str) -> object:
        start, _, pointer = reference.partition("#")
        target: object = self._root
        for step in pointer.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and name.isdecimal() and int(name) < len(target):
                target = target[int(name)]
            elif isinstance(target, dict) and name in target:
                target = target[name]
            else:
                raise schema_error(where, f"{reference} leads nowhere")
        if start or pointer[:1] not in ("", "/"):
            raise schema_error(where, f"{reference} is outside; references begin with #/")
        return target

    def _kind(self, kind: str, schema: Schema, where: str) -> str:
        """GBNF for one type of value."""
        if not KEYWORDS[kind] & schema.keys():
            return self._primitive(kind)
        build: Mapping[str, Callable[[Schema, str], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": self._number,
        }
        return f"({build[kind](schema, where)})"

    def _object(self, schema: Schema, where: str) -> str:
        properties, required = members(schema, where)
        extra = schema.get("additionalProperties", not properties)
        rest = "" if extra is False else self._additional(properties, extra, where)
        first, later = rest and f"({rest})?", rest and f'("," space {rest})*'
        if rest:
            first = f"({rest} {later})?"
        for name in reversed(properties):
            value = self._value(properties[name], f"{where}/properties/{name}")
            member = self._rule(f'{constant(name)} ":" space {value}')
            # `first` is what follows "{", `later` what follows another member.
            if name in required:
                first = f"{member} {later}".rstrip()
                later = f'"," space {first}'
            else:
                first = self._rule(f"{member} {later} | {first or chr(34) * 2}")
                later = f'("," space {member})? {later}'.rstrip()
            later = self._rule(later)
        self._primitive("space")
        return f'"{{" {first} "}}"'

    def _additional(self, properties: Schema, schema: object, where: str) -> str:
        """A member whose name is none of the properties'."""
        if any(len(name) > MAX_NAME for name in properties):
            raise schema_error(where, f"names of more than {MAX_NAME} characters beside others")
        value = self._value(schema, f"{where}/additionalProperties")
        self._primitive("plain")
        name = self._other_text(frozenset(map(str, properties)))
        return self._rule(f'"\\"" {name} "\\"" ":" space {value}')

    def _other_text(self, texts: frozenset[str]) -> str:
        """A text, written without escapes, that is none of these."""
        if not texts:
            return "plain*"
        heads = sorted({text[0] for text in texts if text})
        branches = [] if "" in texts else ['""']
        for head in heads:
            rest = self._other_text(frozenset(text[1:] for text in texts if text[:1] == head))
            if is_plain(head):
                branches.append(f"{literal(head)} {rest}")
        branches.append(f"{plain_except(''.join(heads))} plain*")
        return self._rule(" | ".join(branches))

    def _array(self, schema: Schema, where: str) -> str:
        least, most = counts(schema, "Items", where)
        first = schema.get("prefixItems", [])
        if not isinstance(first, list):
            raise schema_error(f"{where}/prefixItems", "expected a list of schemas")
        first = first[:most]
        items = schema.get("items", not first or least > len(first))
        parts = [self._value(each, f"{where}/prefixItems/{at}") for at, each in enumerate(first)]
        self._primitive("space")
        listed = ' "," space '.join(parts)
        least, most = max(least - len(parts), 0), None if most is None else most - len(parts)
        if items is False or most == 0:
            if least:
                raise schema_error(where, f"{least} items too few can be written")
            return f'"[" {listed} "]"'
        item = self._value(items, f"{where}/items")
        more = self._rule(f'"," space {item}')
        if parts:
            return f'"[" {listed} {repeated(more, least, most)} "]"'
        tail = repeated(more, max(least - 1, 0), None if most is None else most - 1)
        return f'"[" {item} {tail} "]"' if least else f'"[" ({item} {tail})? "]"'

    def _string(self, schema: Schema, where: str) -> str:
        if "format" in schema:
            if schema["format"] not in _FORMATS or {"minLength", "maxLength"} & schema.keys():
                raise schema_error(
                    f"{where}/format", f"only {', '.join(_FORMATS)}, without lengths"
                )
            return self._primitive(str(schema["format"]))
        least, most = counts(schema, "Length", where)
        text = self._rule(repeated(self._primitive("character"), least, most))
        return f'"\\"" {text} "\\""'

    def _integer(self, schema: Schema, where: str) -> str:
        low, high, above, below = bounds(schema, where)
        least = math.ceil(low) + (above and low == math.ceil(low))
        most = math.floor(high) - (below and high == math.floor(high))
        if least > most:
            raise schema_error(where, "no whole number lies between the bounds")
        return whole_numbers(least, most)

    def _number(self, schema: Schema, where: str) -> str:
        low, high, above, below = bounds(schema, where)
        if low != int(low) or high != int(high):
            raise schema_error(where, "bounds of a number must be whole numbers")
        if low > high or not (found := decimals(int(low), int(high), above=above, below=below)):
            raise schema_error(where, "no number lies between the bounds")
        return found

    def _rule(self, body: str) -> str:
        """The name of a rule with this body."""
        if body in self._rules:
            return body
        if body not in self._names:
            self._names[body] = f"rule-{len(self._names)}"
            self._rules[self._names[body]] = body
        return self._names[body]

    def _primitive(self, name: str) -> str:
        """A rule of the table, with those it uses."""
        if name not in self._rules:
            self._rules[name] = PRIMITIVES[name]
            for used in PRIMITIVES.keys() & set(_words(PRIMITIVES[name])):
                self._primitive(used)
        return name


def _words(body: str) -> list[str]:
    return re.findall("[a-z]+(?:-[a-z]+)*", body)
