"""JSON from strangers: bounds, duplicate keys, and reads that name the field."""

from pathlib import Path

import pytest

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError, InputError
from edgellm.json_file import MAX_CONFIG_BYTES, read_json, show

CONFIG = Path("config.json")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "config.json"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"7", "expected a JSON object"),
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b'{"a": {"b": 1, "b": 1}}', "'b' appears twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": ' + b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "5000 digits"),
        (b'{"a": [' + b"0," * 2_000_000 + b"0]}", "JSON values"),
    ],
)
def test_broken_json_is_refused_in_one_line(content: bytes, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path, content)
    with pytest.raises(FormatError) as caught:
        read_json(path)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_a_hundred_megabytes_of_config_are_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, b"")
    with path.open("r+b") as file:
        file.truncate(100_000_000)
    with pytest.raises(FormatError, match=r"95\.37 MiB of JSON; at most 4\.00 MiB"):
        read_json(path)


def test_the_largest_config_allowed_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, b'{"a": 1}' + b" " * (MAX_CONFIG_BYTES - 8))
    assert read_json(path) == {"a": 1}


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path / "config.json")


def test_shown_values_stay_short_and_printable() -> None:
    assert show("a\n\x1b[31m\ud800") == r"'a\n\x1b[31m\ud800'"
    assert len(show("x" * 10_000)) == 80


@pytest.mark.parametrize("value", [True, 1.0, "1", 0, -1, 2**31, [1], {}])
def test_an_integer_is_a_json_integer_in_range(value: object) -> None:
    with pytest.raises(FormatError, match=r"config\.json: a is .*; expected an integer from 1 to"):
        Fields(CONFIG, {"a": value}).integer("a")


@pytest.mark.parametrize("value", [True, "1", float("inf"), float("nan"), 10**400, -1, []])
def test_a_number_is_finite_and_in_range(value: object) -> None:
    with pytest.raises(FormatError, match=r"config\.json: a is .*; expected a number"):
        Fields(CONFIG, {"a": value}).number("a", low=0, high=10)


def test_a_number_may_be_written_as_an_integer() -> None:
    assert Fields(CONFIG, {"a": 10000}).number("a", low=0, high=1e6) == 10000.0


@pytest.mark.parametrize("value", [1, 0, "true", []])
def test_a_boolean_is_true_or_false(value: object) -> None:
    with pytest.raises(FormatError, match="expected true or false"):
        Fields(CONFIG, {"a": value}).boolean("a", False)


@pytest.mark.parametrize("value", ["silu", [1], {"a": "b"}, 3])
def test_a_list_of_strings_is_one(value: object) -> None:
    with pytest.raises(FormatError, match="expected a list of strings"):
        Fields(CONFIG, {"a": value}).texts("a")


def test_a_null_counts_as_absent() -> None:
    fields = Fields(CONFIG, {"a": None})
    assert fields.integer("a", 7) == 7
    assert fields.optional_integer("a") is None
    assert fields.texts("a") == ()
    assert fields.section("a") is None
    assert not fields.has("a")
    assert fields.mentions("a")


def test_a_required_field_that_is_missing_is_named() -> None:
    with pytest.raises(FormatError, match="hidden_size is missing"):
        Fields(CONFIG, {}).integer("hidden_size")


def test_a_field_of_a_nested_object_is_named_with_its_place() -> None:
    section = Fields(CONFIG, {"rope_scaling": {"factor": "x"}}).section("rope_scaling")
    assert section is not None
    with pytest.raises(FormatError, match=r"rope_scaling\.factor is 'x'"):
        section.number("factor", low=0, high=1)
