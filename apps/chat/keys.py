"""Which key does what: the defaults, and what [keys] of config.toml changes."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys

from edgellm.apps.chat.screen import ChatScreen
from edgellm.apps.chat.widgets.prompt import Prompt
from edgellm.apps.chat.widgets.turns import Turns
from edgellm.errors import FormatError

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_NAMES = frozenset(key.value for key in Keys)
# Keys that have a meaning in one place only, where the others have none.
_LOCAL = ("turn.", "transcript.", "dialog.", "picker.", "search.", "form.", "convert.", "toggle.")
_WORD = re.compile(r"[a-z0-9_]{2,}")


def default_keys() -> dict[str, str]:
    """The keys of the screen, by the names of config.toml."""
    return _keys_of((ChatScreen, Turns, Prompt))


def all_keys() -> dict[str, str]:
    """The keys of everything that can have another one, dialogs included."""
    from edgellm.apps.chat.dialogs import converting, dialog, picker, searching, settings, writing
    from edgellm.apps.chat.widgets.toggle import Toggle

    dialogs = (
        converting.ConvertDialog,
        picker.Picker,
        dialog.Dialog,
        searching.SearchDialog,
        settings.SettingsDialog,
        writing.TextDialog,
        Toggle,
    )
    return {**_keys_of(dialogs), **default_keys()}


def _keys_of(owners: Iterable[type[DOMNode]]) -> dict[str, str]:
    return {
        binding.id: binding.key
        for owner in owners
        for binding in owner.BINDINGS
        if isinstance(binding, Binding) and binding.id
    }


def changed_keys(changes: Mapping[str, str], source: Path) -> dict[str, str]:
    """What Textual is to be told of [keys].

    Raises FormatError for names and keys that do not exist, and for one key with two meanings.
    """
    if not changes:
        return {}
    defaults = all_keys()
    for name, keys in changes.items():
        if name not in defaults:
            raise FormatError(source, f"keys.{name} is unknown; known: {_known(name, defaults)}")
        for key in keys.split(","):
            if not is_key(key.strip()):
                raise FormatError(
                    source, f'keys.{name} is {keys!r}; expected keys such as "ctrl+r" or "f5,alt+r"'
                )
    _check_conflicts(defaults, changes, source)
    return dict(changes)


def _known(name: str, defaults: Mapping[str, str]) -> str:
    """The names that are like this one, or all."""
    return ", ".join(get_close_matches(name, defaults, n=5) or sorted(defaults))


def is_key(key: str) -> bool:
    """Whether a key is written as Textual writes it."""
    *modifiers, last = key.split("+") if key != "+" else ["+"]
    if not set(modifiers) <= _MODIFIERS:
        return False
    return len(last) == 1 or last in _NAMES or bool(_WORD.fullmatch(last) and "_" in last)


def _check_conflicts(defaults: Mapping[str, str], changes: Mapping[str, str], source: Path) -> None:
    """A key that was changed has one meaning; those of one place are a world of their own."""
    changed = {name for name, keys in changes.items() if keys != defaults[name]}
    owners: dict[str, str] = {}
    for name, keys in sorted({**defaults, **changes}.items()):
        for key in () if name.startswith(_LOCAL) else keys.split(","):
            other = owners.setdefault(key.strip(), name)
            if other != name and {other, name} & changed:
                raise FormatError(
                    source, f"keys.{other} and keys.{name} are both {key.strip()!r}; change one"
                )
