"""Whether what was found fits the memory that was allowed, guessing included."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.artifact import Artifact
from edgellm.errors import BudgetError
from edgellm.events import MemoryUse
from edgellm.plan import MemoryParts, over_budget
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.wire import Loaded
from edgellm.units import exact_size, format_bytes

if TYPE_CHECKING:
    from edgellm.apps.context_memory import ContextMemory

NOTHING = MemoryParts(0, 0, 0, 0)
# Limits count what is reserved, which is more than what is used: an allocator's arenas and a BLAS
# library's buffers for each core, a stack of 8 MiB for each thread that computes. A model at its
# budget of 68 MiB reserved 76 MiB with one thread, 587 with 64; numpy, which log probabilities
# need, 79 more on two cores. The limits were 5 and 2.4 times that.
RESERVE_FLOOR_BYTES = 128 << 20
RESERVE_SHARE = 8  # one over the share of the budget
CORE_BYTES = 64 << 20
THREAD_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class BareFile:
    """A model without a plan, whose needs show once it is loaded."""

    name: str
    budget_bytes: int | None
    guessing: MemoryParts

    def check(self, loaded: Loaded) -> None:
        """Raises BudgetError."""
        if self.budget_bytes is not None:
            check_memory(self.name, loaded.memory, self.budget_bytes, self.guessing)


def guessing_memory(gguf: Path, options: LoadOptions) -> MemoryParts:
    """What guessing takes beside the model; no plan counts it. Raises InputError."""
    if options.speculate is None:
        return NOTHING
    from edgellm.gguf_file import read_gguf
    from edgellm.runtimes.llama_cpp.speculation.memory import speculation_memory_of

    return speculation_memory_of(read_gguf(gguf), options)


def check_plan(artifact: Artifact, budget_bytes: int | None, guessing: MemoryParts) -> None:
    """Raise BudgetError for an artifact whose plan exceeds the budget, with what guessing takes."""
    if budget_bytes is None:
        return
    planned, name = artifact.plan.memory, artifact.folder.name
    smaller = f"convert it again for {exact_size(budget_bytes)} of memory"
    if planned.total_bytes > budget_bytes:
        raise over_budget(name, planned, budget_bytes, smaller)
    needed = planned + guessing
    if needed.total_bytes > budget_bytes:
        step = f"load it without guessing, or with {exact_size(needed.total_bytes)} of memory"
        raise over_budget(f"{name} with guessing", needed, budget_bytes, step)


def check_beyond_plan(artifact: Artifact, budget_bytes: int, options: LoadOptions) -> None:
    """Raise BudgetError for a context beyond the plan that does not fit, with what would.

    Raises UsageError for one that the model itself does not have.
    """
    from edgellm.apps.context_memory import ContextMemory

    assert options.context is not None, "it is more than the plan's"
    costs = ContextMemory.of(artifact, options)

    def guessing(context: int) -> MemoryParts:
        return guessing_memory(artifact.gguf, replace(options, context=context))

    needed = costs.at(options.context) + guessing(options.context)
    if needed.total_bytes > budget_bytes:
        raise _beyond_budget(costs, options.context, needed, budget_bytes, guessing)


def _beyond_budget(
    costs: "ContextMemory",
    context: int,
    needed: MemoryParts,
    budget_bytes: int,
    guessing: Callable[[int], MemoryParts],
) -> BudgetError:
    largest, budget = costs.largest(budget_bytes, guessing), format_bytes(budget_bytes)
    fits = f"the largest that fits is {largest}" if largest else "none fits"
    return BudgetError(
        f"{costs.name} at a context of {context} tokens needs {format_bytes(needed.total_bytes)} "
        f"(KV cache {format_bytes(needed.kv_cache_bytes)}), the budget is {budget}; {fits}",
        needed_bytes=needed.total_bytes,
        budget_bytes=budget_bytes,
        largest_context=largest,
        parts=needed.to_json(),
    )


def check_file(gguf: Path, budget_bytes: int | None, guessing: MemoryParts) -> None:
    """Raise BudgetError for a file that with its weights and guessing alone exceeds the budget."""
    if budget_bytes is None:
        return
    from edgellm.gguf_file import read_gguf

    weights_bytes = sum(tensor.bytes for tensor in read_gguf(gguf).tensors)
    if weights_bytes > budget_bytes:
        weights = MemoryParts(weights_bytes, 0, 0, 0)
        raise over_budget(gguf.name, weights, budget_bytes, "give a smaller file")
    needed = MemoryParts(weights_bytes, 0, 0, 0) + guessing
    if needed.total_bytes > budget_bytes:
        what = f"{gguf.name} with guessing"
        raise over_budget(what, needed, budget_bytes, "load it without guessing")


def check_memory(name: str, use: MemoryUse, budget_bytes: int, guessing: MemoryParts) -> None:
    """Raise BudgetError for a model without a plan that will take more than the budget.

    The KV cache and the buffers are there but untouched, so they come on top of what is resident.
    So does the index that guesses from the text itself take; a draft model is resident already.
    """
    index_bytes = 0 if guessing.weights_bytes else guessing.overhead_bytes
    parts = MemoryParts(
        weights_bytes=use.weights_bytes,
        kv_cache_bytes=use.kv_cache_bytes,
        compute_bytes=use.compute_bytes,
        overhead_bytes=max(use.resident_bytes - use.weights_bytes, 0) + index_bytes,
    )
    if parts.total_bytes > budget_bytes:
        raise over_budget(name, parts, budget_bytes, "give a smaller context or a smaller file")


def process_limit(budget_bytes: int | None, threads: int | None) -> int | None:
    """Private memory that the engine's process may have: the budget and what is only reserved."""
    if budget_bytes is None:
        return None
    spare_bytes = max(RESERVE_FLOOR_BYTES, budget_bytes // RESERVE_SHARE)
    threads_bytes = CORE_BYTES * (os.cpu_count() or 1) + THREAD_BYTES * (threads or 0)
    return budget_bytes + spare_bytes + threads_bytes
