"""How a conversation is answered: as typed, as kept, as asked."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from edgellm.apps.chat.answering.settings import ANY_JSON, KINDS, Settings
from edgellm.errors import UsageError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.2", 0.2),
        ("Temperature", " 1 ", 1.0),
        ("top-k", "40", 40),
        ("seed", "7", 7),
        ("max_tokens", "auto", None),
        ("thinking", "off", False),
        ("thinking", "On", True),
        ("thinking", "auto", None),
        ("when_full", "trim", "trim"),
        ("json_schema", ANY_JSON, ANY_JSON),
        ("json_schema", "", None),
    ],
)
def test_a_setting_is_read_as_people_type_it(name: str, text: str, value: object) -> None:
    settings = Settings(max_tokens=5).changed(name, text)
    assert getattr(settings, name.lower().replace("-", "_")) == value


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("temprature", "1", "known: temperature"),
        ("temperature", "hot", "expected a number"),
        ("temperature", "-1", "temperature is -1"),
        ("temperature", "nan", "expected a number"),
        ("top_p", "2", "expected 0 to 1"),
        ("top_k", "1.5", "expected a whole number"),
        ("max_tokens", "0", "at least 1"),
        ("thinking", "maybe", "expected on, off or auto"),
        ("when_full", "cry", "expected ask or trim"),
        ("json_schema", '{"type": "object", "uniqueItems": true}', "uniqueItems"),
        ("json_schema", "not json", "JSON"),
    ],
)
def test_a_value_that_means_nothing_is_refused_in_one_line(
    name: str, text: str, problem: str
) -> None:
    with pytest.raises(UsageError, match=problem) as refusal:
        Settings().changed(name, text)
    assert "\n" not in str(refusal.value)


def test_only_what_was_set_is_asked_for() -> None:
    settings = Settings(temperature=0.0, thinking=False, when_full="trim")
    assert settings.options() == {"temperature": 0.0, "thinking": False}
    assert Settings().options() == {}


def test_what_is_kept_is_read_back() -> None:
    settings = Settings(0.5, 10, 0.9, 0.1, 1.2, 3, 100, True, ANY_JSON, "trim")
    assert Settings.read(json.loads(json.dumps(settings.to_json()))) == settings
    assert Settings.read({}) == Settings()


@hypothesis_settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*KINDS, "other"]), JSON))
def test_whatever_was_kept_makes_settings_that_can_be_used(kept: dict[str, object]) -> None:
    settings = Settings.read(kept)
    assert Settings.read(settings.to_json()) == settings
