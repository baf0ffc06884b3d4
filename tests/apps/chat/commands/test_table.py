"""The table of commands, against what it leads to."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

import tests.apps.chat.commands as here
from edgellm.apps.chat.commands.table import BY_NAME, COMMANDS, Command
from tests.support.pilots import chatting, run


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_row_leads_to_a_function(command: Command) -> None:
    function = getattr(import_module(command.module), command.function_name)
    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters) == ["chat", "argument"]


def test_names_and_keys_are_unique() -> None:
    assert len(BY_NAME) == len(COMMANDS)
    for keys in ("keys", "turn_keys"):
        given = [key for one in COMMANDS for key in getattr(one, keys).split(",") if key]
        assert len(given) == len(set(given))
    assert all(re.fullmatch(r"[a-z][a-z-]*", name) for name in BY_NAME)


def test_no_key_is_one_that_terminals_cannot_tell_from_another() -> None:
    keys = {key for one in COMMANDS for key in f"{one.keys},{one.turn_keys}".split(",")}
    assert not keys & {"ctrl+i", "ctrl+m", "ctrl+h", "ctrl+tab", "ctrl+j"}


def test_each_command_is_tried_by_a_test() -> None:
    covered: set[str] = set()
    for module in pkgutil.iter_modules(here.__path__):
        for _, test in inspect.getmembers(import_module(f"{here.__name__}.{module.name}")):
            covered |= set(getattr(test, "covers", ()))
    assert covered == set(BY_NAME)


def test_every_key_can_be_another(tmp_path: Path) -> None:
    async def script() -> None:
        keys = {"regenerate": "ctrl+b", "turn.copy": "q", "send": "ctrl+s", "newline": "enter"}
        async with chatting(tmp_path, keys=keys) as chat:
            chat.chat.prompt.focus()
            await chat.press(*"one", "enter", *"two", "ctrl+s")
            await chat.settle()
            assert chat.said[0] == "one\ntwo"
            await chat.press("ctrl+b")
            await chat.settle()
            assert chat.last.heading.count == 2
            await chat.press("f5")
            await chat.settle()
            assert chat.last.heading.count == 2
            assert "Ctrl+S sends" in str(chat.chat.prompt.placeholder)

    run(script())
