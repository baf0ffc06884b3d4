"""What a name stands for: a folder, a GGUF file, a stored model, a checkpoint, a Hub name."""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.cli.planning import (
    DEFAULT_MODE,
    STATIC,
    PlanningOptions,
    default_context,
    free_memory_budget,
)
from edgellm.apps.cli.settings import setting_value
from edgellm.artifact import MANIFEST, Artifact, open_artifact
from edgellm.bundled import BUNDLED_NAME, bundled_checkpoint
from edgellm.files import FileStamp
from edgellm.plan import over_budget
from edgellm.progress import ProgressSink
from edgellm.store import Store
from edgellm.units import exact_size, format_bytes, parse_size

if TYPE_CHECKING:
    from edgellm.checkpoint import Checkpoint

# A checkpoint of this size is measured in a minute or two; a larger one only where it is asked for.
MEASURED_AT_ONCE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Loadable:
    """A GGUF file ready to run, with its artifact unless it is a bare file."""

    gguf: Path
    artifact: Artifact | None


@dataclass(frozen=True, slots=True)
class Finder:
    """Where models are looked for, and who hears what happens meanwhile."""

    store: Store
    offline: bool
    say: Callable[[str], None]  # what a person may want to know
    progress: Callable[[], AbstractContextManager[ProgressSink]]  # of fetching and verifying
    # Runs `edgellm` with these arguments in a process of its own; returns once it has gone well.
    # A conversion needs memory that must not count against that of the answer.
    run: Callable[[list[str]], None]

    def find(
        self,
        model: str,
        options: PlanningOptions,
        threads: int | None,
        speculate: str | None = None,
    ) -> Loadable:
        """Something an engine can load; a checkpoint is converted on first use.

        speculate: as in LoadOptions; a model that is converted leaves room for it in the memory.
        """
        if is_gguf(model):
            return Loadable(Path(model), None)
        if is_artifact(model, self.store):
            return self._verified(open_named_artifact(model, self.store))
        checkpoint = self.open_checkpoint(model)
        if speculate is not None:
            options = self._leaving_room(checkpoint, options, speculate)
        return self._verified(self._converted(checkpoint, options, threads))

    def open_checkpoint(self, reference: str) -> "Checkpoint":
        """The checkpoint that a folder, a Hub name (fetched) or the bundled name stands for."""
        from edgellm.checkpoint import open_checkpoint

        if reference == BUNDLED_NAME and not Path(reference).exists():
            return open_checkpoint(bundled_checkpoint())
        from edgellm.checkpoint.hub import resolve_model

        with self.progress() as progress:
            folder = resolve_model(reference, offline=self.offline, progress=progress)
        return open_checkpoint(folder)

    def _verified(self, artifact: Artifact) -> Loadable:
        """With checksums verified; files unchanged since the last time are not read again."""
        with self.progress() as progress:
            artifact.verify(progress=progress, stamps=self.store.cache / "verified")
        return Loadable(artifact.gguf, artifact)

    def _leaving_room(
        self, checkpoint: "Checkpoint", options: PlanningOptions, speculate: str
    ) -> PlanningOptions:
        """The options with what guessing takes off the memory, where one was given.

        Raises BudgetError where nothing is left of it.
        """
        if (memory := options.memory) is None:
            return options
        from edgellm.families import read_spec
        from edgellm.runtimes.llama_cpp.speculation.memory import most_speculation_memory

        spec = read_spec(checkpoint)
        context = options.context or default_context(spec)
        room, budget_bytes = most_speculation_memory(spec, context, speculate), parse_size(memory)
        if room.total_bytes >= budget_bytes:
            raise over_budget("guessing", room, budget_bytes, "load the model without it")
        self.say(f"of {memory}, {format_bytes(room.total_bytes)} are for guessing")
        left_bytes = budget_bytes - room.total_bytes
        return replace(options, memory=exact_size(left_bytes))

    def _converted(
        self, checkpoint: "Checkpoint", options: PlanningOptions, threads: int | None
    ) -> Artifact:
        """The stored artifact of this checkpoint under these options, made when there is none.

        Without a memory any artifact made for less than what is free now serves again: planning
        anew for each run would convert anew whenever another program starts.
        """
        mode = self._first_use_mode(checkpoint, options)
        digest = options_digest(checkpoint, options, mode)
        name = store_name(f"{checkpoint.name}-{digest}")
        if self.store.has(name):
            stored = self.store.open(name)
            free_bytes = None if options.memory else free_memory_budget(self.say)
            if free_bytes is None or stored.plan.memory.total_bytes <= free_bytes:
                return stored
        self.say(f"converting {checkpoint.name} for its first run; kept as {name}")
        out = ["-o", str(self.store.path(name)), "--overwrite"]
        more = [] if threads is None else ["--threads", str(threads)]
        judged = [] if mode is None else ["--sensitivity", mode]
        folder = str(checkpoint.folder)
        self.run(["convert", folder, *out, *options.flags, *judged, *more, "--json"])
        return self.store.open(name)

    def _first_use_mode(self, checkpoint: "Checkpoint", options: PlanningOptions) -> str | None:
        """How a conversion on first use is judged: somebody waits for an answer meanwhile.

        None where a setting or --format has decided.
        """
        if options.format is not None or setting_value("sensitivity") is not None:
            return None
        mode = first_use_mode(sum(path.stat().st_size for path in checkpoint.files))
        if mode == STATIC:
            self.say(
                f"planned from a table, because measuring {checkpoint.name} takes long; for a "
                f"better model of the same size: edgellm convert {checkpoint.name}"
            )
        return mode


def first_use_mode(checkpoint_bytes: int) -> str:
    """How a checkpoint of this size is judged while somebody waits for its model."""
    return DEFAULT_MODE if checkpoint_bytes <= MEASURED_AT_ONCE_BYTES else STATIC


def open_named_artifact(model: str, store: Store) -> Artifact:
    """The artifact that a folder or a store name stands for, not verified."""
    if (Path(model) / MANIFEST).is_file():
        return open_artifact(Path(model))
    return store.open(model)


def needs_conversion(model: str, store: Store) -> bool:
    """Whether MODEL is neither a GGUF file nor an artifact."""
    return not is_gguf(model) and not is_artifact(model, store)


def is_gguf(model: str) -> bool:
    """Whether MODEL is a file that is named as one or begins like one."""
    path = Path(model)
    if not path.is_file():
        return False
    if path.suffix == ".gguf":
        return True
    from edgellm.gguf_file.reader import MAGIC

    with suppress(OSError), path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC
    return False


def is_artifact(model: str, store: Store) -> bool:
    """Whether MODEL is an artifact's folder, or no path at all but a stored name."""
    path = Path(model)
    return (path / MANIFEST).is_file() or (not path.exists() and store.has(model))


def options_digest(
    checkpoint: "Checkpoint", options: PlanningOptions, mode: str | None = None
) -> str:
    """Eight characters that change when the checkpoint's files, the options or the mode do."""
    stamps = [(path.name, asdict(FileStamp.of(path))) for path in checkpoint.files]
    judged = {} if mode is None else {"sensitivity": mode}
    identity = json.dumps([stamps, options.given | judged], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def store_name(text: str) -> str:
    """A name the store takes, made from a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:120] or "model"
