"""Which key does what: the defaults, and what [keys] of config.toml changes."""

import re
from collections.abc import Mapping
from pathlib import Path

from textual.binding import Binding
from textual.keys import Keys

from edgellm.apps.chat.screen import ChatScreen, Turns
from edgellm.apps.chat.widgets.prompt import Prompt
from edgellm.errors import FormatError

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_NAMES = frozenset(key.value for key in Keys)
_OF_TURNS = ("turn.", "transcript.")
_WORD = re.compile(r"[a-z0-9_]{2,}")


def default_keys() -> dict[str, str]:
    """The keys of everything that can have another one, by the names of config.toml."""
    return {
        binding.id: binding.key
        for owner in (ChatScreen, Turns, Prompt)
        for binding in owner.BINDINGS
        if isinstance(binding, Binding) and binding.id
    }


def changed_keys(changes: Mapping[str, str], source: Path) -> dict[str, str]:
    """What Textual is to be told of [keys].

    Raises FormatError for names and keys that do not exist, and for one key with two meanings.
    """
    defaults = default_keys()
    for name, keys in changes.items():
        if name not in defaults:
            known = ", ".join(sorted(defaults))
            raise FormatError(source, f"keys.{name} is unknown; known: {known}")
        for key in keys.split(","):
            if not is_key(key.strip()):
                raise FormatError(
                    source, f'keys.{name} is {keys!r}; expected keys such as "ctrl+r" or "f5,alt+r"'
                )
    _check_conflicts(defaults, changes, source)
    return dict(changes)


def is_key(key: str) -> bool:
    """Whether a key is written as Textual writes it."""
    *modifiers, last = key.split("+") if key != "+" else ["+"]
    if not set(modifiers) <= _MODIFIERS:
        return False
    return len(last) == 1 or last in _NAMES or bool(_WORD.fullmatch(last) and "_" in last)


def _check_conflicts(defaults: Mapping[str, str], changes: Mapping[str, str], source: Path) -> None:
    """A key that was changed has one meaning; those of a selected turn are a world of their own."""
    changed = {name for name, keys in changes.items() if keys != defaults[name]}
    owners: dict[str, str] = {}
    for name, keys in sorted({**defaults, **changes}.items()):
        for key in () if name.startswith(_OF_TURNS) else keys.split(","):
            other = owners.setdefault(key.strip(), name)
            if other != name and {other, name} & changed:
                raise FormatError(
                    source, f"keys.{other} and keys.{name} are both {key.strip()!r}; change one"
                )
