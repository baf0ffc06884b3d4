"""The models that may be loaded, with what is known of each without loading it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.chat.choosing.references import path_exists, stored_reference
from edgellm.apps.finding import is_gguf
from edgellm.apps.launching import LoadSettings
from edgellm.artifact import MANIFEST, Artifact, open_artifact
from edgellm.bundled import BUNDLED_NAME
from edgellm.checkpoint.hub import is_hub_name
from edgellm.errors import EdgeLLMError
from edgellm.store import Store


@dataclass(frozen=True, slots=True)
class Offer:
    """One model; None is what is not known."""

    reference: str  # what is loaded
    name: str
    file_bytes: int | None = None
    bits_per_weight: float | None = None
    context: int | None = None  # tokens
    needed_bytes: int | None = None  # planned for everything together
    about: str = ""  # what kind of thing it is, where that is not a stored model
    problem: str = ""  # why it cannot be loaded
    path: Path | None = None  # the file that is loaded

    @property
    def planned_context(self) -> int | None:
        """None where it is no more than a default."""
        return None if self.bits_per_weight is None else self.context


def list_offers(store: Store, recent: Iterable[str], settings: LoadSettings) -> list[Offer]:
    """Stored models by name, broken ones last; then those used lately, or the bundled one.

    Reads every manifest, so call it beside the event loop. settings: of loads, for files without a
    plan.
    """
    stored = [stored_offer(store, name) for name in store.names()]
    stored.sort(key=lambda offer: bool(offer.problem))
    names = {offer.name for offer in stored}
    others = [reference for reference in recent if reference not in names]
    is_empty = all(offer.problem for offer in stored)
    if is_empty and BUNDLED_NAME not in others:
        others.append(BUNDLED_NAME)
    return stored + [offer_of(reference, settings) for reference in others]


def stored_offer(store: Store, name: str) -> Offer:
    """A model of the store; what is broken there says why."""
    try:
        artifact = store.open(name)
        return _of_artifact(artifact, stored_reference(store, name), name)
    except EdgeLLMError as error:
        folder = f"{store.path(name)}{os.sep}"
        return Offer(name, name, problem=str(error).replace(folder, ""))


def offer_of(reference: str, settings: LoadSettings) -> Offer:
    """What a reference stands for that is no name in the store."""
    path = Path(reference)
    try:
        if not path_exists(reference):
            return _of_name(reference)
        if (path / MANIFEST).is_file():
            return _of_artifact(open_artifact(path), reference, path.name)
        if is_gguf(reference):
            return _of_file(path, reference, settings)
    except (EdgeLLMError, OSError) as error:
        return Offer(reference, path.name, problem=str(error))
    return Offer(reference, path.name, about="checkpoint, made to fit when it is loaded first")


def _of_artifact(artifact: Artifact, reference: str, name: str) -> Offer:
    plan = artifact.plan
    return Offer(
        reference,
        name,
        artifact.total_bytes,
        plan.bits_per_weight,
        plan.kv.context,
        plan.memory.total_bytes,
        path=artifact.gguf,
    )


def _of_name(reference: str) -> Offer:
    if reference == BUNDLED_NAME:
        about = "comes with edgellm, made at first use"
        return Offer(reference, reference, about=about)
    if is_hub_name(reference):
        return Offer(reference, reference, about="on the Hub, fetched and made to fit")
    return Offer(reference, Path(reference).name, problem=f"{reference}: is not there now")


def _of_file(path: Path, reference: str, settings: LoadSettings) -> Offer:
    """What a file without a plan needs follows from its header, for most kinds of models."""
    size_bytes, about = path.stat().st_size, "GGUF file"
    try:
        context, needed_bytes = _estimated(path, settings)
    except EdgeLLMError:
        from edgellm.gguf_file import read_gguf

        read_gguf(path)  # what is broken raises here; the rest may still be loaded
        return Offer(reference, path.name, size_bytes, about=about, path=path)
    return Offer(
        reference,
        path.name,
        size_bytes,
        context=context,
        needed_bytes=needed_bytes,
        about=about,
        path=path,
    )


def _estimated(path: Path, settings: LoadSettings) -> tuple[int, int]:
    """(tokens of the context that would be taken, bytes of everything with it)."""
    from edgellm.apps.context_memory import ContextMemory
    from edgellm.apps.launching import load_options
    from edgellm.plan import DEFAULT_CONTEXT

    memory = ContextMemory.of(path, load_options(None, settings))
    context = min(settings.get("context") or DEFAULT_CONTEXT, memory.limit)
    return context, memory.at(context).total_bytes
