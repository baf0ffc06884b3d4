"""From a file that was found to everything that decides how it is loaded, budget included."""

from dataclasses import replace
from pathlib import Path
from typing import TypedDict

from edgellm.apps.budgets import (
    BareFile,
    check_beyond_plan,
    check_file,
    check_plan,
    guessing_memory,
    process_limit,
)
from edgellm.apps.cli.planning import free_memory_budget
from edgellm.apps.finding import Loadable
from edgellm.artifact import Artifact
from edgellm.errors import InputError, UsageError
from edgellm.plan import MemoryParts
from edgellm.progress import ProgressSink
from edgellm.runtimes import RUNTIMES
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.choosing.installed import llama_cpp_gpus
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import Runtime
from edgellm.store import Store
from edgellm.units import parse_size

AUTO = "auto"
NGRAM = "ngram"
ENGINE = "llama.cpp"  # runs GGUF files, the one kind of artifact there is


class LoadSettings(TypedDict, total=False):
    """What may be said about how a model is loaded; the plan or the engine decides the rest."""

    memory: str | int | None  # "2GiB" or bytes, for everything; None is what the plan says
    context: int | None  # tokens that prompt and answer may take together
    beyond_plan: bool  # the context may exceed the plan, where memory (None: what is free) allows
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
    progress: ProgressSink  # hears of fetching, measuring, converting and verifying


def launch(found: Loadable, settings: LoadSettings, store: Store) -> Launch:
    """How to load what was found. Raises BudgetError, UsageError, InputError."""
    options = load_options(found.artifact, settings)
    check_draft(options.speculate)
    budget_bytes, guessing = _budget_bytes(settings), guessing_memory(found.gguf, options)
    limited_bytes = _checked_budget(found, options, budget_bytes, guessing)
    engine, options, notice = _choose(found.gguf, options, settings)
    bare_bytes = budget_bytes if found.artifact is None else None
    return Launch(
        found.gguf,
        options,
        engine,
        isolation=settings.get("isolation", "process"),
        memory_limit_bytes=(
            None if options.gpu_layers else process_limit(limited_bytes, options.threads)
        ),
        cache_dir=store.cache,
        check=BareFile(found.gguf.name, bare_bytes, guessing).check,
        notice=notice,
        plan=None if found.artifact is None else found.artifact.plan,
    )


def _checked_budget(
    found: Loadable, options: LoadOptions, budget_bytes: int | None, guessing: MemoryParts
) -> int | None:
    """What the engine's process is held to; None where nobody has said. Raises BudgetError."""
    artifact = found.artifact
    if artifact is None:
        check_file(found.gguf, budget_bytes, guessing)
        return budget_bytes
    if options.context is not None and options.context > artifact.plan.kv.context:
        if budget_bytes is None:
            budget_bytes = free_memory_budget(say_nothing)
        check_beyond_plan(artifact, budget_bytes, options)
        return budget_bytes
    check_plan(artifact, budget_bytes, guessing)
    return budget_bytes or artifact.plan.budget_bytes + guessing.total_bytes


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
    from edgellm.runtimes.choosing.choice import choose_runtime

    chosen = choose_runtime(gguf, options, engine)
    return chosen.engine, replace(options, gpu_layers=chosen.gpu_layers), chosen.fallback


def load_options(artifact: Artifact | None, settings: LoadSettings) -> LoadOptions:
    """Load as the plan says; a bare GGUF file has none and takes the defaults.

    Raises UsageError for a context that exceeds the plan, unless that is meant, or formats that
    the plan has decided.
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
    too_long = context is not None and context > plan.kv.context
    if too_long and not settings.get("beyond_plan", False):
        raise UsageError(
            f"context is {context}; {name} was planned for {plan.kv.context} tokens: give "
            f"{plan.kv.context} at most, or convert it again for a context of {context}"
        )
    if ubatch is not None and ubatch > plan.ubatch:
        raise UsageError(
            f"ubatch is {ubatch}; {name} was planned for {plan.ubatch} tokens at once, and more "
            f"take more memory: give {plan.ubatch} at most"
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


def say_nothing(text: str) -> None:
    """A library has nobody to talk to."""


def check_draft(speculate: str | None) -> None:
    """Raise InputError where neither a way to guess nor a file is named."""
    if speculate is not None and speculate != NGRAM and not Path(speculate).is_file():
        raise InputError(
            f"speculate is {speculate!r}: no such file; expected {NGRAM}, or a draft model's GGUF "
            "file"
        )


def _budget_bytes(settings: LoadSettings) -> int | None:
    memory = settings.get("memory")
    if isinstance(memory, int) and memory < 1:
        raise UsageError(f"memory is {memory} bytes; expected at least 1")
    return parse_size(memory) if isinstance(memory, str) else memory
