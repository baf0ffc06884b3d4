"""What a model would take in memory with another context, before anything is loaded."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgellm.artifact import Artifact
from edgellm.errors import UsageError
from edgellm.formats import EngineFacts
from edgellm.gguf_file import read_gguf
from edgellm.memory import RunSettings, memory_parts
from edgellm.plan import MemoryParts
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.preconditions import KVFormats, choose_kv_formats, read_facts
from edgellm.runtimes.llama_cpp.speculation.memory import loaded_weights_bytes, spec_of
from edgellm.runtimes.options import LoadOptions
from edgellm.spec import ModelSpec


def no_guessing(context: int) -> MemoryParts:
    """What guessing takes where there is none."""
    return MemoryParts(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ContextMemory:
    """What one model takes at any context; its file is read once.

    By the arithmetic of plans, so that at the planned context it says what the plan says. Of files
    that edgellm has not made it is an estimate: rather too much where layers keep a window or a
    state, too little scratch where there are experts.
    """

    name: str
    spec: ModelSpec  # as much of it as memory depends on
    weights_bytes: int
    formats: KVFormats
    ubatch: int  # tokens computed at once
    engine: EngineFacts

    @classmethod
    def of(cls, model: Artifact | Path, options: LoadOptions | None = None) -> "ContextMemory":
        """model: an artifact, or a GGUF file. options: how a file is loaded; a plan has decided.

        Raises InputError for a file that cannot be used, UsageError for formats it cannot have.
        """
        path, name, options = _settled(model, options)
        file, tables = read_gguf(path), load_tables()
        formats = choose_kv_formats(
            options.key_format, options.value_format, read_facts(file), on_gpu=False
        )
        engine = tables.engines["llama.cpp"]
        return cls(
            name=name,
            spec=spec_of(file),
            weights_bytes=loaded_weights_bytes(file, engine, tables),
            formats=formats,
            ubatch=options.ubatch,
            engine=engine,
        )

    @property
    def limit(self) -> int:
        """Tokens of the largest context that the model itself has."""
        return self.spec.context_length

    def at(self, context: int) -> MemoryParts:
        """Predicted bytes with a context of so many tokens.

        Raises UsageError for one that the model does not have.
        """
        if not 1 <= context <= self.limit:
            raise UsageError(
                f"context is {context}; {self.name} was made for {self.limit} tokens: give 1 to "
                f"{self.limit}"
            )
        run = RunSettings(self.formats.key, self.formats.value, context, self.ubatch)
        return memory_parts(self.spec, self.weights_bytes, run, self.engine)

    def largest(
        self, memory_bytes: int, guessing: Callable[[int], MemoryParts] = no_guessing
    ) -> int:
        """Tokens of the largest context that fits; 0 when none does.

        guessing: what it takes beside the model, by the context.
        """
        step_tokens = self.engine.context_multiple

        def context(steps: int) -> int:
            return min(steps * step_tokens, self.limit)

        def total_bytes(steps: int) -> int:
            return (self.at(context(steps)) + guessing(context(steps))).total_bytes

        steps = range(1, 1 + -(-self.limit // step_tokens))
        return context(bisect_right(steps, memory_bytes, key=total_bytes))


def _settled(model: Artifact | Path, options: LoadOptions | None) -> tuple[Path, str, LoadOptions]:
    """The model's file, what to call it, and the options with what a plan has decided."""
    if isinstance(model, Path):
        return model, model.name, options or LoadOptions()
    plan = model.plan
    decided = LoadOptions(
        key_format=plan.kv.key_format,
        value_format=plan.kv.value_format,
        ubatch=plan.ubatch if options is None else min(options.ubatch, plan.ubatch),
    )
    return model.gguf, model.folder.name, decided


def context_memory(
    model: Artifact | Path, context: int, options: LoadOptions | None = None
) -> MemoryParts:
    """What a model takes with a context of so many tokens; nothing is loaded. See ContextMemory.

    Raises UsageError for a context that the model does not have, InputError.
    """
    return ContextMemory.of(model, options).at(context)
