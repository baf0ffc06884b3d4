"""What has to stand beside the weights, and what to say when it all does not fit."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import NoReturn

from edgellm.errors import BudgetError, UsageError
from edgellm.formats import EngineFacts, KVFormat, Tables
from edgellm.memory import RunSettings, memory_parts
from edgellm.plan import MemoryParts, Plan
from edgellm.sensitivity import Caches
from edgellm.spec import ModelSpec
from edgellm.units import format_bytes

WEIGHTS_CAP = "the memory of the weights"
BPW_CAP = "bits per weight"
_MIB = 2**20

# Caches in float16 are for models that lose more than this with q8_0, in nats per token.
_FULL_CACHE_WORTH = 1e-3


def offered_pairs(
    spec: ModelSpec, tables: Tables, caches: Caches
) -> list[tuple[KVFormat, KVFormat]]:
    """The (K, V) pairs that fit the model's heads, have a known cost, and are worth their bytes."""
    priced = [pair for pair in tables.pairs_for_heads(spec.head_dim) if caches.can_price(*pair)]
    plain = tables.kv_formats["q8_0"]
    if (plain, plain) not in priced or caches.cost(plain, plain) > _FULL_CACHE_WORTH:
        return priced
    return [(key, value) for key, value in priced if key.block > 1 and value.block > 1]


@dataclass(frozen=True, slots=True)
class Fitting:
    """Finds run settings for one model on one engine."""

    spec: ModelSpec
    tables: Tables
    engine: EngineFacts
    caches: Caches  # judges which pairs of cache formats are worth having

    @property
    def context_limit(self) -> int:
        """Tokens the model can attend to at once."""
        return min(self.spec.context_length, self.spec.sliding_window or self.spec.context_length)

    def check_context(self, context: int) -> None:
        """Raises UsageError for a context the model was not made for."""
        spec = self.spec
        if context < 1:
            raise UsageError(f"a context of {context} tokens: give at least 1")
        if context > spec.context_length:
            raise UsageError(
                f"a context of {context} tokens is more than {spec.name} was made for: "
                f"its context length is {spec.context_length}"
            )
        if context > self.context_limit:
            raise UsageError(
                f"a context of {context} tokens is beyond the sliding window of {spec.name}, "
                f"{self.context_limit} tokens; give at most that"
            )

    def every_run(self, context: int) -> Iterator[RunSettings]:
        """Every pair of cache formats that fits the heads, in every ubatch; the largest first."""
        for ubatch in self.engine.ubatches:
            for key, value in offered_pairs(self.spec, self.tables, self.caches):
                yield RunSettings(key, value, context, ubatch)

    def runs(self, context: int, weights_bytes: int, memory_bytes: int | None) -> list[RunSettings]:
        """Those of every_run that fit beside the smallest weights. Raises BudgetError for none."""
        fitting = [
            run
            for run in self.every_run(context)
            if memory_bytes is None or self.parts(run, weights_bytes).total_bytes <= memory_bytes
        ]
        if not fitting:
            self._refuse(context, weights_bytes, memory_bytes or 0)
        return fitting

    def parts(self, run: RunSettings, weights_bytes: int) -> MemoryParts:
        return memory_parts(self.spec, weights_bytes, run, self.engine)

    def least(self, context: int) -> RunSettings:
        """The run that takes the least memory."""
        return min(self.every_run(context), key=lambda run: self.parts(run, 0).total_bytes)

    def _smallest(self, context: int, weights_bytes: int) -> MemoryParts:
        return self.parts(self.least(context), weights_bytes)

    def _largest_context(self, weights_bytes: int, memory_bytes: int) -> int:
        """Tokens of the largest context that fits; 0 when none does."""

        def fits(steps: int) -> bool:
            parts = self._smallest(steps * step_tokens, weights_bytes)
            return parts.total_bytes <= memory_bytes

        step_tokens = self.engine.context_multiple
        low, high = 0, -(-self.context_limit // step_tokens)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return min(low * step_tokens, self.context_limit)

    def _refuse(self, context: int, weights_bytes: int, memory_bytes: int) -> NoReturn:
        parts = self._smallest(context, weights_bytes)
        largest = self._largest_context(weights_bytes, memory_bytes)
        instead = f", or a context of {largest}" if largest else ""
        contexts = (
            f"the largest context that fits {format_bytes(memory_bytes)} is {largest} tokens"
            if largest
            else f"no context fits {format_bytes(memory_bytes)}"
        )
        raise BudgetError(
            f"{self.spec.name} at a context of {context} tokens needs at least "
            f"{format_bytes(parts.total_bytes)} (weights {format_bytes(parts.weights_bytes)}, "
            f"KV cache {format_bytes(parts.kv_cache_bytes)}, compute buffers "
            f"{format_bytes(parts.compute_bytes)}, overhead {format_bytes(parts.overhead_bytes)}) "
            f"and the budget is {format_bytes(memory_bytes)}; {contexts}. "
            f"Give {at_least_mib(parts.total_bytes)} of memory{instead}.",
            needed_bytes=parts.total_bytes,
            budget_bytes=memory_bytes,
            largest_context=largest,
            parts=parts.to_json(),
        )


def refuse_weights(spec: ModelSpec, needed_bytes: int, cap_bytes: int, cap: str) -> NoReturn:
    """Say that the smallest weights exceed a cap on the weights; cap: what it is on."""
    least_bpw = 8 * needed_bytes / spec.parameters
    least = f"{ceil(100 * least_bpw) / 100:.2f}" if cap == BPW_CAP else at_least_mib(needed_bytes)
    raise BudgetError(
        f"the weights of {spec.name} take at least {format_bytes(needed_bytes)} "
        f"({least_bpw:.2f} bits per weight) and the cap on {cap} allows {format_bytes(cap_bytes)} "
        f"({8 * cap_bytes / spec.parameters:.2f}); a smaller context does not help. "
        f"Make that cap {least}.",
        needed_bytes=needed_bytes,
        budget_bytes=cap_bytes,
        largest_context=0,
        parts={"weights_bytes": needed_bytes},
    )


def refuse_caps(
    spec: ModelSpec, needed_bytes: int, memory_bytes: int, stored_bytes: int
) -> NoReturn:
    """Say that two caps can each be met, but not together.

    needed_bytes: what the weights take once loaded when they are as small as the file must be.
    """
    raise BudgetError(
        f"the weights of {spec.name} can take {format_bytes(memory_bytes)} once loaded, or "
        f"{format_bytes(stored_bytes)} in the file, but not both: the smallest format of the tied "
        f"embedding is kept twice. Give the weights {format_bytes(needed_bytes)}, or raise "
        f"the cap on {BPW_CAP}.",
        needed_bytes=needed_bytes,
        budget_bytes=memory_bytes,
        largest_context=0,
        parts={"weights_bytes": needed_bytes},
    )


def refuse_pace(spec: ModelSpec, fastest: Plan, tokens_per_s: float) -> NoReturn:
    """Say that nothing inside the caps is fast enough; fastest: the plan that comes closest."""
    reached = fastest.predicted_tokens_per_s or 0.0
    raise BudgetError(
        f"{spec.name} is predicted to decode {floor(10 * reached) / 10:g} tokens/s at most on this "
        f"machine within these limits, and {tokens_per_s:g} are asked for. "
        f"Ask for {floor(10 * reached) / 10:g}, or give a smaller context.",
        needed_bytes=fastest.memory.total_bytes,
        budget_bytes=fastest.budget_bytes,
        largest_context=0,
        parts=fastest.memory.to_json(),
    )


def at_least_mib(count: int) -> str:
    """Bytes as the next whole MiB, so that the suggestion suffices."""
    return f"{-(-count // _MIB)}MiB"
