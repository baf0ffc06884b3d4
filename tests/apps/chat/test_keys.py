"""[keys] of config.toml."""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

from edgellm.apps import chat
from edgellm.apps.chat.keys import all_keys, changed_keys, is_key
from edgellm.apps.cli.app import run
from edgellm.errors import FormatError
from tests.support.pilots import chatting
from tests.support.pilots import run as drive

CONFIG = Path("config.toml")


def test_every_default_is_a_key_and_may_stay() -> None:
    defaults = all_keys()
    assert all(is_key(key) for keys in defaults.values() for key in keys.split(","))
    assert changed_keys(defaults, CONFIG) == defaults
    assert {"send", "newline", "stop", "turn.copy", "edit.cursor-left", "dialog.leave"} <= set(
        defaults
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sned": "f9"}, "keys.sned is unknown; known: .*send"),
        ({"stop": "contrl+x"}, "keys.stop is 'contrl\\+x'; expected keys such as"),
        ({"stop": ""}, "keys.stop is ''"),
        ({"help": "f2"}, "keys.help and keys.panel are both 'f2'"),
        ({"stop": "ctrl+a"}, "keys.edit.cursor-line-start and keys.stop are both 'ctrl\\+a'"),
        ({"help": "enter"}, "keys.help and keys.send are both 'enter'"),
    ],
)
def test_what_means_nothing_is_named(changes: dict[str, str], problem: str) -> None:
    with pytest.raises(FormatError, match=problem) as refusal:
        changed_keys(changes, CONFIG)
    assert str(refusal.value).startswith("config.toml: ")


def test_two_keys_may_change_places() -> None:
    changes = {"help": "f2", "panel": "f1"}
    assert changed_keys(changes, CONFIG) == changes


def test_the_file_s_keys_are_shown_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGELLM_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text('theme = "nord"\n[keys]\nhelp = "f12"\n')
    assert run(["config"]) == 0
    shown = capsys.readouterr().out
    assert "keys.help = f12" in shown
    assert "theme = nord" in shown
    (tmp_path / "config.toml").write_text("[keys]\nhelp = 3\n")
    assert run(["chat"]) == 3
    assert "keys.help is 3; expected text" in capsys.readouterr().err


def test_every_binding_of_the_chat_can_have_another_key() -> None:
    for module in pkgutil.walk_packages(chat.__path__, f"{chat.__name__}."):
        for _, kind in inspect.getmembers(import_module(module.name), inspect.isclass):
            if issubclass(kind, DOMNode) and kind.__module__ == module.name:
                for binding in vars(kind).get("BINDINGS", ()):
                    assert isinstance(binding, Binding)
                    assert binding.id in all_keys(), f"{kind.__name__}: {binding.key}"


def test_a_dialog_has_the_changed_keys_and_says_so(tmp_path: Path) -> None:
    async def script() -> None:
        keys = {"dialog.take": "ctrl+b", "dialog.leave": "ctrl+x"}
        async with chatting(tmp_path, keys=keys) as pilot:
            await pilot.send("/system")
            await pilot.until(lambda: pilot.dialog)
            assert pilot.dialog is not None
            assert "Ctrl+B takes it" in str(pilot.dialog.query_one(".keys").render())
            await pilot.press(*"Hm", "ctrl+b")
            await pilot.settle()
            assert pilot.chat.desk.conversation.system == "Hm"

    drive(script())
