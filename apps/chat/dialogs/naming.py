"""Where a model goes whose name is taken already."""

import os
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.errors import UsageError
from edgellm.store import Store

if TYPE_CHECKING:
    from textual.app import App

_REPLACE, _BESIDE, _OTHER = "replace", "beside", "other"


@dataclass(frozen=True, slots=True)
class Place:
    """A name in the store."""

    name: str
    overwrite: bool = False  # what is there goes


async def ask_place(app: "App[object]", store: Store, name: str) -> Place | None:
    """The name where it is free; else what the user decides, None where that is nothing."""
    if is_free(store, name):
        return Place(name)
    beside = free_name(store, name)
    choices = [
        Choice(_BESIDE, Text(f"Keep both: call the new one {beside}")),
        Choice(_OTHER, Text("Give it another name …")),
        Choice(_REPLACE, Text("Replace it, once the new one is complete")),
    ]
    asked = Picker(f"There is a {name} already", choices, has_search=False)
    chosen = await app.push_screen_wait(asked)
    if chosen == _OTHER:
        typed = await app.push_screen_wait(
            LineDialog("Name", beside, check=lambda text: check_free(store, text.strip()))
        )
        return Place(typed.strip()) if typed else None
    if chosen == _REPLACE:
        return Place(name, overwrite=True)
    return Place(beside) if chosen == _BESIDE else None


def is_free(store: Store, name: str) -> bool:
    return not os.path.lexists(store.path(name))


def free_name(store: Store, name: str) -> str:
    """The name with the first number that nothing has."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(other for other in numbered if is_free(store, other))


def check_free(store: Store, name: str) -> None:
    """Raises UsageError for a name that the store does not take, or has."""
    if not is_free(store, name):
        raise UsageError(f"there is a {name} already; give another name")
