"""What a name on the command line stands for: a folder, a GGUF file, a stored model, a Hub name."""

import hashlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from edgellm.apps.cli.child import edgellm_command
from edgellm.apps.cli.output import note, terminal_progress
from edgellm.apps.cli.planning import DEFAULT_MODE, PlanningOptions, free_memory_budget
from edgellm.artifact import MANIFEST, Artifact, open_artifact
from edgellm.bundled import BUNDLED_NAME, bundled_checkpoint
from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.children import child_environment
from edgellm.files import FileStamp
from edgellm.store import Store

# A checkpoint of this size is measured in a minute or two; a larger one only where it is asked for.
MEASURED_AT_ONCE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Loadable:
    """A GGUF file ready to run, with its artifact unless it is a bare file."""

    gguf: Path
    artifact: Artifact | None


def open_reference(reference: str, *, offline: bool) -> Checkpoint:
    """The checkpoint that a folder, a Hub name (fetched) or the bundled name stands for."""
    if reference == BUNDLED_NAME and not Path(reference).exists():
        return open_checkpoint(bundled_checkpoint())
    from edgellm.checkpoint.hub import resolve_model

    with terminal_progress() as progress:
        folder = resolve_model(reference, offline=offline, progress=progress)
    return open_checkpoint(folder)


def open_named_artifact(model: str, store: Store) -> Artifact:
    """The artifact that a folder or a store name stands for, not verified."""
    if (Path(model) / MANIFEST).is_file():
        return open_artifact(Path(model))
    return store.open(model)


def find_loadable(
    model: str, options: PlanningOptions, store: Store, *, offline: bool, threads: int | None
) -> Loadable:
    """Turn MODEL into something an engine can load, converting a checkpoint on first use."""
    if is_gguf(model):
        return Loadable(Path(model), None)
    if is_artifact(model, store):
        return verified(open_named_artifact(model, store), store)
    checkpoint = open_reference(model, offline=offline)
    return verified(converted(checkpoint, options, store, threads=threads), store)


def needs_conversion(model: str, store: Store) -> bool:
    """Whether MODEL is neither a GGUF file nor an artifact."""
    return not is_gguf(model) and not is_artifact(model, store)


def is_gguf(model: str) -> bool:
    return Path(model).is_file() and Path(model).suffix == ".gguf"


def is_artifact(model: str, store: Store) -> bool:
    """Whether MODEL is an artifact's folder, or no path at all but a stored name."""
    path = Path(model)
    return (path / MANIFEST).is_file() or (not path.exists() and store.has(model))


def verified(artifact: Artifact, store: Store) -> Loadable:
    """The artifact with its checksums verified; files unchanged since are not read again."""
    with terminal_progress() as progress:
        artifact.verify(progress=progress, stamps=store.cache / "verified")
    return Loadable(artifact.gguf, artifact)


def converted(
    checkpoint: Checkpoint, options: PlanningOptions, store: Store, *, threads: int | None
) -> Artifact:
    """The stored artifact of this checkpoint under these options, made when there is none.

    Without --memory any artifact made for less than what is free now serves again: planning anew
    for each run would convert anew whenever another program starts. A conversion is a process of
    its own: what it needs must not count against the memory of the answer.
    """
    mode = first_use_mode(checkpoint, options)
    digest = options_digest(checkpoint, options, mode)
    name = store_name(f"{checkpoint.name}-{digest}")
    if store.has(name):
        stored = store.open(name)
        if options.memory or stored.plan.memory.total_bytes <= free_memory_budget():
            return stored
    note(f"converting {checkpoint.name} for its first run; kept as {name}")
    out = ["-o", str(store.path(name)), "--overwrite"]
    more = [] if threads is None else ["--threads", str(threads)]
    judged = [] if mode is None else ["--sensitivity", mode]
    command = edgellm_command(
        "convert", str(checkpoint.folder), *out, *options.flags, *judged, *more, "--json"
    )
    code = subprocess.run(command, stdout=subprocess.DEVNULL, env=child_environment()).returncode
    if code:
        raise typer.Exit(code)  # the conversion has said why
    return store.open(name)


def first_use_mode(checkpoint: Checkpoint, options: PlanningOptions) -> str | None:
    """How a conversion on first use is judged: somebody waits for an answer meanwhile.

    None where a setting or --format has decided.
    """
    from edgellm.apps.cli.settings import setting_value

    if options.format is not None or setting_value("sensitivity") is not None:
        return None
    if sum(path.stat().st_size for path in checkpoint.files) <= MEASURED_AT_ONCE_BYTES:
        return DEFAULT_MODE
    note(
        f"planned from a table, because measuring {checkpoint.name} takes long; for a better model "
        f"of the same size: edgellm convert {checkpoint.name}"
    )
    return "static"


def options_digest(
    checkpoint: Checkpoint, options: PlanningOptions, mode: str | None = None
) -> str:
    """Eight characters that change when the checkpoint's files, the options or the mode do."""
    stamps = [(path.name, asdict(FileStamp.of(path))) for path in checkpoint.files]
    judged = {} if mode is None else {"sensitivity": mode}
    identity = json.dumps([stamps, options.given | judged], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def store_name(text: str) -> str:
    """A name the store takes, made from a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:120] or "model"
