"""What is known before a conversion is planned: the checkpoint, the memory, what would be slow."""

from dataclasses import dataclass

from edgellm.apps.chat.choosing.references import path_exists, reference_of
from edgellm.apps.chat.choosing.verdicts import allowed_memory
from edgellm.apps.chat.making.subject import Subject, default_mode, look_at_checkpoint
from edgellm.apps.chat.widgets import figures
from edgellm.apps.cli.planning import STATIC
from edgellm.apps.free_memory import FreeMemory
from edgellm.apps.launching import LoadSettings
from edgellm.checkpoint.hub import is_hub_name
from edgellm.errors import EdgeLLMError
from edgellm.store import Store
from edgellm.units import format_bytes


@dataclass(frozen=True, slots=True)
class Looked:
    """One look at what was typed for a checkpoint."""

    subject: Subject | None  # None where it does not lie here
    about: str  # what is to be said in its place
    mode: str  # of sensitivity, where nobody chooses another


@dataclass(frozen=True, slots=True)
class Defaults:
    """What empty fields mean."""

    memory_bytes: int
    memory_source: str  # where that number comes from
    context: int | None  # tokens; None is what the model says
    threads: int | None
    offline: bool


def look(typed: str, store: Store, threads: int | None) -> Looked:
    """Takes some milliseconds, or a second for a name on the Hub: nothing is fetched for it."""
    reference = reference_of(typed)
    if not reference:
        return Looked(None, "a folder, a name on the Hub, or novelist-7m", STATIC)
    try:
        subject = look_at_checkpoint(reference, store, threads)
        return Looked(subject, "", default_mode(subject))
    except EdgeLLMError as error:
        if is_hub_name(reference) and not path_exists(reference):
            return Looked(None, "a name on the Hub: fetched first", STATIC)
        return Looked(None, str(error), STATIC)


def defaults_of(settings: LoadSettings, memory: FreeMemory) -> Defaults:
    """settings: of loads in this chat, which the new model shall fulfil."""
    memory_bytes, source = allowed_memory(settings), "of this chat, by --memory"
    if memory_bytes is None:
        memory_bytes = memory.budget_bytes
        returned = figures.memory(memory.returned_bytes)
        more = f"+ {returned} given back " if memory.returned_bytes else ""
        source = f"free {more}- a reserve"
    return Defaults(
        memory_bytes,
        source,
        settings.get("context"),
        settings.get("threads"),
        settings.get("offline", False),
    )


def warning_of(subject: Subject | None, mode: str, memory: FreeMemory) -> str:
    """What measuring would take that is not there; empty where it is, or nothing is measured."""
    if subject is None or mode == STATIC:
        return ""
    left_bytes = FreeMemory(memory.free_bytes, memory.total_bytes).usable_bytes
    if subject.reference_bytes <= left_bytes:
        return ""
    beside = " beside the loaded model" if memory.returned_bytes else ""
    return (
        f"Measuring runs the whole model in f16, {format_bytes(subject.reference_bytes)}, and "
        f"{format_bytes(left_bytes)} may be used{beside}: it will be slow. static needs no such "
        "memory."
    )
