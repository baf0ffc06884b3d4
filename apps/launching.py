"""From a file that was found to everything that decides how it is loaded, budget included."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from edgellm.apps.finding import Loadable
from edgellm.artifact import Artifact
from edgellm.errors import UsageError
from edgellm.events import MemoryUse
from edgellm.plan import MemoryParts, over_budget
from edgellm.progress import ProgressSink
from edgellm.runtimes import RUNTIMES
from edgellm.runtimes.installed import llama_cpp_gpus
from edgellm.runtimes.launch import Launch
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import Runtime
from edgellm.runtimes.wire import Loaded
from edgellm.store import Store
from edgellm.units import exact_size, parse_size

AUTO = "auto"
ENGINE = "llama.cpp"  # runs GGUF files, the one kind of artifact there is
# Limits count what is reserved, which is more than what is used, and most of it for threads: a
# stack, an allocator's arena, a BLAS library's buffer.
RESERVE_FLOOR_BYTES = 128 << 20
RESERVE_SHARE = 8  # one over the share of the budget
CORE_BYTES = 64 << 20


class LoadSettings(TypedDict, total=False):
    """What may be said about how a model is loaded; the plan or the engine decides the rest."""

    memory: str | int | None  # "2GiB" or bytes, for everything; None is what the plan says
    context: int | None  # tokens that prompt and answer may take together
    runtime: str | Runtime  # "auto", a row of RUNTIMES, or an engine of one's own
    isolation: str  # "process", or "none" for a thread of this one
    threads: int | None  # None is one for each physical core
    ubatch: int | None  # prompt tokens computed at once; None is what the plan says, or 512
    gpu_layers: int | None  # -1 is all of them; None is what a GPU here can take
    weights: str  # "read", "mapped" or "locked"
    speculate: str | None  # "ngram", or the path of a draft model's GGUF file
    key_format: str | None  # of a bare GGUF file's KV cache; an artifact's plan has decided
    value_format: str | None
    offline: bool  # open no connection to any server
    progress: ProgressSink  # hears of fetching and verifying


def launch(found: Loadable, settings: LoadSettings, store: Store) -> Launch:
    """How to load what was found. Raises BudgetError, UsageError, UnsupportedError."""
    options = load_options(found.artifact, settings)
    budget_bytes = _budget_bytes(settings)
    if found.artifact is None:
        check_file(found.gguf, budget_bytes)
        limited_bytes = budget_bytes
    else:
        check_plan(found.artifact, budget_bytes)
        limited_bytes = budget_bytes or found.artifact.plan.budget_bytes
    engine, options, notice = _choose(found.gguf, options, settings)
    budget = _BareFile(found.gguf.name, budget_bytes if found.artifact is None else None)
    return Launch(
        found.gguf,
        options,
        engine,
        isolation=settings.get("isolation", "process"),
        memory_limit_bytes=None if options.gpu_layers else _with_reserve(limited_bytes),
        cache_dir=store.cache,
        check=budget.check,
        notice=notice,
    )


def _choose(
    gguf: Path, options: LoadOptions, settings: LoadSettings
) -> tuple[str, LoadOptions, str | None]:
    """(the engine, its options, what this machine has better and why that is not used)."""
    engine = settings.get("runtime", AUTO)
    assert isinstance(engine, str), "an engine of one's own is chosen already"
    if engine != AUTO and engine not in RUNTIMES:
        raise UsageError(f"no engine {engine!r}; known: {AUTO}, {', '.join(RUNTIMES)}")
    if settings.get("gpu_layers") is not None:
        return (ENGINE if engine == AUTO else engine), options, None
    if engine in (AUTO, ENGINE) and not llama_cpp_gpus():
        return ENGINE, options, None  # the processor is all there is to choose
    from edgellm.runtimes.choice import choose_runtime

    chosen = choose_runtime(gguf, options, engine)
    return chosen.engine, replace(options, gpu_layers=chosen.gpu_layers), chosen.fallback


@dataclass(frozen=True, slots=True)
class _BareFile:
    """A model without a plan, whose needs show once it is loaded."""

    name: str
    budget_bytes: int | None

    def check(self, loaded: Loaded) -> None:
        if self.budget_bytes is not None:
            check_memory(self.name, loaded.memory, self.budget_bytes)


def load_options(artifact: Artifact | None, settings: LoadSettings) -> LoadOptions:
    """Load as the plan says; a bare GGUF file has none and takes the defaults.

    Raises UsageError for a context that the plan exceeds, or formats that it has decided.
    """
    context, ubatch = settings.get("context"), settings.get("ubatch")
    options = LoadOptions(
        context=context,
        key_format=settings.get("key_format"),
        value_format=settings.get("value_format"),
        threads=settings.get("threads"),
        gpu_layers=settings.get("gpu_layers") or 0,
        weights=settings.get("weights", "read"),
        speculate=settings.get("speculate"),
    )
    if ubatch is not None:
        options = replace(options, ubatch=ubatch)
    if artifact is None:
        return options
    plan, name = artifact.plan, artifact.folder.name
    if context is not None and context > plan.kv.context:
        raise UsageError(
            f"--context {context}: {name} was planned for {plan.kv.context} "
            f"tokens; convert it again with --context {context}"
        )
    if ubatch is not None and ubatch > plan.ubatch:
        raise UsageError(
            f"--ubatch {ubatch}: {name} was planned for {plan.ubatch} tokens at once, and more "
            f"take more memory; give {plan.ubatch} at most"
        )
    if options.key_format or options.value_format:
        raise UsageError(
            f"{name} was planned for a KV cache of {plan.kv.key_format} and "
            f"{plan.kv.value_format}; leave key_format and value_format out"
        )
    return replace(
        options,
        context=context or plan.kv.context,
        key_format=plan.kv.key_format,
        value_format=plan.kv.value_format,
        ubatch=ubatch or plan.ubatch,
    )


def check_plan(artifact: Artifact, budget_bytes: int | None) -> None:
    """Raise BudgetError for an artifact whose plan exceeds the budget."""
    memory = artifact.plan.memory
    if budget_bytes is not None and budget_bytes < memory.total_bytes:
        step = f"convert it again with --memory {exact_size(budget_bytes)}"
        raise over_budget(artifact.folder.name, memory, budget_bytes, step)


def check_file(gguf: Path, budget_bytes: int | None) -> None:
    """Raise BudgetError for a file whose weights alone exceed the budget."""
    if budget_bytes is None:
        return
    from edgellm.gguf_file import read_gguf

    weights_bytes = sum(tensor.bytes for tensor in read_gguf(gguf).tensors)
    if weights_bytes > budget_bytes:
        parts = MemoryParts(weights_bytes, 0, 0, 0)
        raise over_budget(gguf.name, parts, budget_bytes, "give a smaller file")


def check_memory(name: str, use: MemoryUse, budget_bytes: int) -> None:
    """Raise BudgetError for a model without a plan that will take more than the budget.

    The KV cache and the buffers are there but untouched, so they come on top of what is resident.
    """
    parts = MemoryParts(
        weights_bytes=use.weights_bytes,
        kv_cache_bytes=use.kv_cache_bytes,
        compute_bytes=use.compute_bytes,
        overhead_bytes=max(use.resident_bytes - use.weights_bytes, 0),
    )
    if parts.total_bytes > budget_bytes:
        raise over_budget(name, parts, budget_bytes, "give a smaller --context or a smaller file")


def _budget_bytes(settings: LoadSettings) -> int | None:
    memory = settings.get("memory")
    if isinstance(memory, int) and memory < 1:
        raise UsageError(f"memory is {memory} bytes; expected at least 1")
    return parse_size(memory) if isinstance(memory, str) else memory


def _with_reserve(budget_bytes: int | None) -> int | None:
    if budget_bytes is None:
        return None
    spare_bytes = max(RESERVE_FLOOR_BYTES, budget_bytes // RESERVE_SHARE)
    return budget_bytes + spare_bytes + CORE_BYTES * (os.cpu_count() or 1)
