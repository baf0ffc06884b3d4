"""What the screen says of its keys."""

import pytest
from rich.cells import cell_len

from edgellm.apps.chat.hints import of_edit, of_turn, shown_key
from edgellm.apps.chat.keys import default_keys
from edgellm.apps.chat.transcript.turns import Heading, TurnItem

CODE = "```python\nprint()\n```\n"
ANSWER = TurnItem(2, "assistant", Heading("model", count=2), CODE, thoughts="Hm.")
PARTS = [
    "Esc back",
    "e edit",
    "r regenerate",
    "y copy",
    "c code",
    "[ ] other branches",
    "Space thoughts",
    "b branch",
]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("pageup", "PgUp"),
        ("ctrl+pagedown", "Ctrl+PgDn"),
        ("escape,f9", "Esc"),
        ("right_square_bracket", "]"),
        ("e", "e"),
    ],
)
def test_a_key_is_shown_as_people_write_it(keys: str, shown: str) -> None:
    assert shown_key(keys) == shown


def test_of_what_may_be_done_with_a_turn_the_end_goes_first() -> None:
    for cells in range(8, 140):
        shown = of_turn(default_keys(), ANSWER, cells).split(" · ")
        assert shown == PARTS[: len(shown)]
        assert cell_len(" · ".join(shown)) <= cells
        assert shown == PARTS or cell_len(" · ".join(PARTS[: len(shown) + 1])) > cells


def test_only_what_a_turn_has_is_offered() -> None:
    question = TurnItem(1, "user", Heading("you"), "Why?")
    shown = of_turn(default_keys(), question, 140).split(" · ")
    assert shown == [*PARTS[:4], PARTS[-1]]


def test_a_changed_key_is_the_one_that_is_shown() -> None:
    keys = {**default_keys(), "stop": "ctrl+x", "turn.edit": "f9", "send": "f10"}
    assert of_turn(keys, ANSWER, 140).startswith("Ctrl+X back · F9 edit")
    assert of_edit(keys, "user").startswith("editing: F10 asks")
    assert of_edit(keys, "user").endswith("Ctrl+X leaves it as it was")


@pytest.mark.parametrize(
    ("role", "does"), [("user", "Enter asks it anew"), ("assistant", "Enter keeps it")]
)
def test_an_edit_says_what_becomes_of_a_question_and_of_an_answer(role: str, does: str) -> None:
    line = of_edit(default_keys(), role)
    assert line == f"editing: {does} beside the old one, Esc leaves it as it was"
