"""JSON Schemas as grammars: what a random model writes under them fulfils them."""

import json
import re
from typing import Any

import pytest

from edgellm.errors import UsageError
from edgellm.events import Done
from edgellm.runtimes.grammars.json_text import constants, decimals, whole_numbers
from edgellm.runtimes.grammars.structure import grammar_of
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.options import SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.json_schema import fulfils

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "number", "minimum": -3, "exclusiveMaximum": 20},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["value", "left"],
            "additionalProperties": False,
        }
    },
}
PERSON = {
    "type": "object",
    "title": "A person",
    "properties": {
        "first": {"type": "string", "minLength": 2, "maxLength": 9},
        "age": {"type": "integer", "minimum": 18, "exclusiveMaximum": 131},
        "mail": {"type": ["string", "null"], "maxLength": 5},
        "tags": {"items": {"enum": ['a"b', "c\\d", "\u00e9\n", 7]}, "maxItems": 3},
        "alive": {"type": "boolean"},
    },
    "required": ["age", "alive"],
}
CIRCLE = {
    "type": "object",
    "properties": {"kind": {"const": "circle"}, "radius": {"type": "number", "minimum": 0}},
    "required": ["kind", "radius"],
}
SQUARE = {
    "type": "object",
    "properties": {"kind": {"const": "square"}, "side": {"type": "integer"}},
    "required": ["kind", "side"],
}
SCHEMAS: dict[str, Any] = {
    "names": {"enum": ["a", "ab", "abc", "", 'a"', "b", 1, 12, [1], "\u00e9", "\u00e8", "x" * 20]},
    "person": PERSON,
    "tree": TREE,
    "shapes": {"type": "array", "items": {"oneOf": [CIRCLE, SQUARE]}, "minItems": 1, "maxItems": 2},
    "tuple": {"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}, "minItems": 3},
    "other names": {
        "type": "object",
        "properties": {"ab": {"type": "null"}, "a": {"type": "null"}},
        "required": ["ab"],
        "additionalProperties": {"type": "boolean"},
    },
    "integer": {"type": "integer", "minimum": -120, "maximum": 7},
    "number": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "text": {"type": "string", "minLength": 3, "maxLength": 12},
    "constant": {"const": {"a": [1, None, 'x"y']}},
    "one of all": {"allOf": [{"type": "integer"}], "description": "wrapped"},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_a_random_model_writes_fulfils_the_schema(tiny: LlamaCppModel, name: str) -> None:
    schema = SCHEMAS[name]
    grammar = grammar_of(json.dumps(schema))
    complete = 0
    for seed in range(20):
        wild = SamplingOptions(temperature=2, top_k=0, top_p=1, min_p=0, seed=seed, max_tokens=300)
        *_, done = tiny.generate(Request("x", wild, grammar))
        assert isinstance(done, Done)
        if done.stop_reason == "end":
            complete += 1
            assert fulfils(json.loads(done.text), schema), done.text
    assert complete >= 10


@pytest.mark.parametrize("schema", [True, {}, {"type": "object"}, {"description": "anything"}])
def test_a_schema_without_wishes_gives_some_json(tiny: LlamaCppModel, schema: object) -> None:
    ends = []
    for seed in range(10):
        wild = SamplingOptions(temperature=2, seed=seed, max_tokens=200)
        *_, done = tiny.generate(Request("x", wild, grammar_of(json.dumps(schema))))
        assert isinstance(done, Done)
        ends.append(done.stop_reason == "end" and json.loads(done.text) is not ...)
    assert sum(ends) >= 2


def test_values_that_begin_alike_are_all_there() -> None:
    words = ["a" * n for n in range(1, 40)] + [f"b{n}" for n in range(200)]
    written = as_expression(constants(words))
    assert all(written.fullmatch(json.dumps(word)) for word in words)
    assert not any(written.fullmatch(f'"{word}"') for word in ("", "b", "b200", "a" * 40, "c"))


def as_expression(gbnf: str) -> re.Pattern[str]:
    """Of grammars with texts of digits, classes and groups alone, whose marks regexes share."""
    text = r'"((?:[^"\\]|\\.)*)"'
    plain = re.sub(text, lambda m: re.escape(m[1].replace("\\", "")), gbnf)
    return re.compile(plain.replace(" ", ""))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 0), (0, 9), (-1, 1), (7, 123), (-120, 7), (-99, -10), (10, 999)]
)
def test_whole_numbers_of_a_range_are_those_and_no_others(low: int, high: int) -> None:
    written = as_expression(whole_numbers(low, high))
    found = [n for n in range(-1200, 1200) if written.fullmatch(str(n))]
    assert found == list(range(low, high + 1))


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [(0, 1, True, False), (0, 1, False, True), (-2, 3, True, True), (-3, -1, False, False)],
)
def test_decimals_of_a_range_are_those_and_no_others(
    low: int, high: int, above: bool, below: bool
) -> None:
    written = as_expression(decimals(low, high, above=above, below=below))
    quarters = [n / 4 for n in range(-20, 20)]
    found = [n for n in quarters if written.fullmatch(f"{n:.2f}") or written.fullmatch(f"{n:g}")]
    assert found == [
        n
        for n in quarters
        if (low < n or (n == low and not above)) and (n < high or (n == high and not below))
    ]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "string", "pattern": "^a$"}, "#: pattern is not supported"),
        ({"properties": {"a": {"not": {}}}}, "#/properties/a: not is not supported"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems is not supported"),
        ({"type": "integer", "multipleOf": 2}, "multipleOf is not supported"),
        ({"type": "string", "minimum": 2}, "minimum is not supported here"),
        ({"type": "text"}, "#/type: expected object, array"),
        ({"format": "email"}, "#/format: only date, time"),
        ({"allOf": [{}, {}]}, "#/allOf: several schemas at once"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "0 and 1 may both hold"),
        ({"enum": []}, "expected a list of values"),
        ({"type": "integer", "enum": ["a"]}, "none of the values"),
        ({"$ref": "#/$defs/a"}, "leads nowhere"),
        ({"$ref": "https://example.org/schema"}, "outside"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "never ends"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "never ends"),
        ({"required": ["a"], "additionalProperties": False}, "'a' is no property"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "maxLength is less than minLength"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "no whole number lies between"),
        ({"type": "number", "minimum": 0.5}, "must be whole numbers"),
        (False, "allows nothing"),
        ({"const": "\ud800"}, "half a surrogate"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(schema: object, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)):
        grammar_of(json.dumps(schema))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "at most 65536"),
        ("[" * 50_000, "is not JSON|nested more than 32"),
        ('{"not":' * 40 + "{}" + "}" * 40, "nested more than 32"),
        (json.dumps({"anyOf": [{}] * 2001}), "more than 2000"),
        ('{"minimum": NaN}', "NaN is no JSON number"),
        (json.dumps({"type": "string", "minLength": 900_000}), "too large"),
        (json.dumps({"type": "string", "maxLength": 10**7}), "up to 1000000"),
    ],
)
def test_a_schema_beyond_its_bounds_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        grammar_of(text)


@pytest.mark.parametrize(
    ("schema", "is_told_apart"),
    [
        ([CIRCLE, SQUARE], True),
        ([CIRCLE, CIRCLE], False),
        ([{"type": "integer"}, {"type": "string"}], True),
        ([{"type": "integer"}, {"const": 1.0}], False),
        ([{"enum": [1, 2]}, {"enum": [3, "a"]}], True),
        ([{"properties": {"a": {}}, "required": ["a"]}, {"type": "object"}], False),
        (
            [
                {"type": "object", "properties": {"a": {}}, "required": ["a"]},
                {"type": "object", "properties": {"b": {}}, "required": ["b"]},
            ],
            True,
        ),
    ],
)
def test_alternatives_of_one_of_must_be_told_apart(schema: object, is_told_apart: bool) -> None:
    text = json.dumps({"oneOf": schema})
    if is_told_apart:
        assert grammar_of(text)
    else:
        with pytest.raises(UsageError, match="may both hold"):
            grammar_of(text)


def test_alternatives_that_refer_to_themselves_are_given_up_soon() -> None:
    def node(names: str) -> dict[str, Any]:
        inner = {name: {"$ref": f"#/$defs/{names}"} for name in "abcdefghij"}
        return {"type": "object", "properties": inner, "required": list("abcdefghij")}

    alternatives = [{"$ref": "#/$defs/one"}, {"$ref": "#/$defs/two"}]
    schema = {"oneOf": alternatives, "$defs": {"one": node("one"), "two": node("two")}}
    with pytest.raises(UsageError, match="may both hold"):
        grammar_of(json.dumps(schema))


def test_a_long_way_of_references_is_followed() -> None:
    steps = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(1500)}
    text = json.dumps({"$ref": "#/$defs/d0", "$defs": steps | {"d1500": {"type": "null"}}})
    assert 'null ::= "null"' in grammar_of(text)


def test_a_long_maximum_is_kept(tiny: LlamaCppModel) -> None:
    grammar = grammar_of('{"type": "string", "minLength": 1, "maxLength": 5000}')
    *_, done = tiny.generate(Request("x", SamplingOptions(seed=1, max_tokens=40), grammar))
    assert isinstance(done, Done)
    assert done.text.startswith('"')


def test_an_error_is_one_line_whatever_the_names_are() -> None:
    with pytest.raises(UsageError) as caught:
        grammar_of(json.dumps({"properties": {"a\nb": {"x\ny" * 900: 1}}}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
