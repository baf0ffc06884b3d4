"""What people type for a model, and what is kept of it."""

from contextlib import suppress
from pathlib import Path

from edgellm.bundled import BUNDLED_NAME
from edgellm.checkpoint.hub import is_hub_name
from edgellm.errors import UsageError
from edgellm.store import Store


def reference_of(typed: str) -> str:
    """A model as it is typed, pasted or dropped: quoted, with ~. A path becomes absolute.

    So it means the same at the next start, wherever that is.
    """
    bare = typed.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        bare = bare[1:-1]
    with suppress(RuntimeError):  # there is no such home
        bare = str(Path(bare).expanduser()) if bare.startswith("~") else bare
    return str(Path(bare).absolute()) if path_exists(bare) else bare


def stored_reference(store: Store, name: str) -> str:
    """What stands for a stored model alone: its name, or its folder where a path is called so."""
    return str(store.path(name).absolute()) if path_exists(name) else name


def is_stored(store: Store, reference: str) -> bool:
    """Whether the reference is one of a stored model."""
    path = Path(reference)
    return store.has(reference) or (path.parent == store.models.absolute() and store.has(path.name))


def check_reference(typed: str, store: Store) -> None:
    """Raises UsageError for what can be no model, before anything is closed for it."""
    reference = reference_of(typed)
    if not reference:
        raise UsageError("give a file, a folder, or a name on the Hub: org/name")
    is_there = path_exists(reference) or store.has(reference) or reference == BUNDLED_NAME
    if not is_there and not is_hub_name(reference):
        raise UsageError(
            f"{reference!r}: no such file, folder or stored model; on the Hub: org/name"
        )


def path_exists(reference: str) -> bool:
    """False also for what is no path at all."""
    with suppress(OSError, ValueError):
        return bool(reference) and Path(reference).exists()
    return False
