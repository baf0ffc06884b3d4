"""Why a plan gave each tensor its format: what a finer one would save, what a coarser one frees.

The price of bytes under the plan's cap is the exchange rate of `edgellm.planner.exchange`.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from edgellm.formats import EngineFacts, Tables, WeightFormat
from edgellm.memory import RunSettings, memory_parts, resident_bytes, tensor_bytes
from edgellm.plan import Budget, Plan
from edgellm.planner.exchange import MIB, Option, Step, coarser_step, exchange_rate, finer_step
from edgellm.planner.fitting import offered_pairs
from edgellm.sensitivity import Sensitivity
from edgellm.spec import ModelSpec, TensorSpec


class Cap(StrEnum):
    """What the plan leaves least room under, and so what counts its bytes."""

    MEMORY = "memory"  # everything, once loaded
    WEIGHTS = "weights"  # the weights, once loaded
    BITS = "bits"  # the weights, in the file


class Reason(StrEnum):
    """Why the next finer format was not taken."""

    FINEST = "finest"  # there is none
    DEAR = "dear"  # its bytes save more elsewhere: it is below the exchange rate
    ROOM = "room"  # it is above the exchange rate, but takes more than the plan leaves free
    OTHER = "other"  # it would pay and fit: another limit or a hand decided


@dataclass(frozen=True, slots=True)
class Verdict:
    """One tensor, or the pair of caches: what was chosen, and its best neighbours."""

    name: str
    format: str
    bits: float  # per weight, or per element of the caches
    bytes: int  # as the cap counts them
    kl_divergence: float  # nats per token
    finer: Step | None  # the step that saves the most per byte
    coarser: Step | None  # the step that costs the least per byte
    reason: Reason  # why `finer` was not taken

    def to_json(self, total: float) -> dict[str, Any]:
        """total: nats per token, which shares are of."""
        return {
            "name": self.name,
            "format": self.format,
            "bits": self.bits,
            "bytes": self.bytes,
            "kl_divergence": self.kl_divergence,
            "share": self.kl_divergence / total if total else 0.0,
            "finer": self.finer and self.finer.to_json(),
            "coarser": self.coarser and self.coarser.to_json(),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class UbatchVerdict:
    """The ubatch, and what its neighbours' bytes are worth to the rest at the exchange rate."""

    ubatch: int  # tokens
    larger: Step | None
    smaller: Step | None

    def to_json(self) -> dict[str, Any]:
        return {
            "ubatch": self.ubatch,
            "larger": self.larger and _ubatch_json(self.larger),
            "smaller": self.smaller and _ubatch_json(self.smaller),
        }


def _ubatch_json(step: Step) -> dict[str, Any]:
    change = {"bytes": step.bytes, "kl_divergence": step.kl_divergence}
    return {"ubatch": int(step.to), **change}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every choice of a plan beside its neighbours, in one currency."""

    cap: Cap
    room_bytes: int  # left free under the cap
    nats_per_mib: float  # the exchange rate; 0 where more bytes buy nothing
    tensors: tuple[Verdict, ...]  # every matrix, the costliest first
    kv: Verdict
    ubatch: UbatchVerdict
    static_taken: bool  # a static plan measured better: other reasons than these decided

    @property
    def kl_divergence(self) -> float:
        """Nats per token, predicted of the whole plan."""
        return sum(choice.kl_divergence for choice in self.tensors) + self.kv.kl_divergence

    def to_json(self) -> dict[str, Any]:
        """The `explain` object of `edgellm plan --explain --json`."""
        total = self.kl_divergence
        return {
            "cap": self.cap,
            "room_bytes": self.room_bytes,
            "nats_per_mib": self.nats_per_mib,
            "kl_divergence": total,
            "static_taken": self.static_taken,
            "kv": self.kv.to_json(total),
            "ubatch": self.ubatch.to_json(),
            "tensors": [choice.to_json(total) for choice in self.tensors],
        }


def explain(
    spec: ModelSpec,
    plan: Plan,
    budget: Budget,
    tables: Tables,
    sensitivity: Sensitivity,
    machine: str | None = None,
) -> Explanation:
    """What each choice of `plan` costs, and what its neighbours would change.

    budget: the caps the plan was made for. machine: where the model will run, as
    `platform.machine` names it; this one when None.
    """
    here = machine or platform.machine()
    return _Explainer(spec, plan, budget, tables, sensitivity, here).explanation()


@dataclass(frozen=True, slots=True)
class _Explainer:
    spec: ModelSpec
    plan: Plan
    budget: Budget
    tables: Tables
    judge: Sensitivity
    machine: str

    def explanation(self) -> Explanation:
        room, cap = self._room()
        matrices = [
            (tensor, choice.format)
            for tensor, choice in zip(self.spec.tensors, self.plan.tensors, strict=True)
            if tensor.is_matrix
        ]
        menus = [self._menu(tensor, chosen, cap) for tensor, chosen in matrices]
        taken = [_named(menu, name) for menu, (_, name) in zip(menus, matrices, strict=True)]
        pairs, pair = self._caches()
        # Caches compete with weights only where one cap holds both.
        rivals = [(pairs, pair)] if cap is Cap.MEMORY else []
        taken_bytes = sum(option.bytes for option in (*taken, *(each for _, each in rivals)))
        rate = exchange_rate([*menus, *(menu for menu, _ in rivals)], taken_bytes + room)
        tensors = [
            _verdict(tensor.name, option, self._bits(option), menu, rate, room)
            for (tensor, _), option, menu in zip(matrices, taken, menus, strict=True)
        ]
        memory_rate = rate if cap is Cap.MEMORY else 0.0
        bits = self.plan.kv.bits_per_element
        return Explanation(
            cap=cap,
            room_bytes=room,
            nats_per_mib=rate,
            tensors=tuple(sorted(tensors, key=lambda choice: -choice.kl_divergence)),
            kv=_verdict("kv_cache", pair, bits, pairs, memory_rate, self._memory_room),
            ubatch=self._ubatch(memory_rate),
            static_taken=self.plan.trial is not None and self.plan.trial.static_won,
        )

    @property
    def _engine(self) -> EngineFacts:
        return self.tables.engines[self.plan.engine]

    @property
    def _run(self) -> RunSettings:
        kv, formats = self.plan.kv, self.tables.kv_formats
        key, value = formats[kv.key_format], formats[kv.value_format]
        return RunSettings(key, value, kv.context, self.plan.ubatch)

    @property
    def _memory_room(self) -> int:
        return self.plan.budget_bytes - self.plan.memory.total_bytes

    def _room(self) -> tuple[int, Cap]:
        """Bytes left under the cap that leaves the least."""
        plan, caps = self.plan, self.budget
        rooms = [(self._memory_room, Cap.MEMORY)]
        if caps.weights_bytes is not None:
            rooms.append((caps.weights_bytes - plan.memory.weights_bytes, Cap.WEIGHTS))
        if caps.target_bpw is not None:
            stored_bytes = sum(choice.bytes for choice in plan.tensors)
            cap_bytes = int(caps.target_bpw * self.spec.parameters / 8)
            rooms.append((cap_bytes - stored_bytes, Cap.BITS))
        return min(rooms)

    def _menu(self, tensor: TensorSpec, chosen: str, cap: Cap) -> list[Option]:
        columns, formats = tensor.shape[-1], self.tables.weight_formats
        offered = [
            fmt.name
            for fmt in formats.values()
            if fmt.plannable and (self.judge.has_imatrix or not fmt.needs_imatrix)
        ]
        names = {self.tables.format_for_rows(name, columns).name for name in offered} | {chosen}
        return [self._option(tensor, formats[name], cap) for name in sorted(names)]

    def _option(self, tensor: TensorSpec, fmt: WeightFormat, cap: Cap) -> Option:
        size = (
            tensor_bytes(tensor, fmt)
            if cap is Cap.BITS
            else resident_bytes(self.spec, tensor, fmt, self._engine, self.machine)
        )
        return Option(fmt.name, size, self.judge.cost(tensor, fmt))

    def _bits(self, option: Option) -> float:
        return self.tables.weight_formats[option.name].bits_per_weight

    def _caches(self) -> tuple[list[Option], Option]:
        """The pairs of caches, and the chosen one.

        A pair's bytes differ from the chosen one's by the scratch that reading it takes as well.
        """
        run = self._run
        offered = offered_pairs(self.spec, self.tables, self.judge.caches)
        menu = [
            self._pair(replace(run, key=key, value=value))
            for key, value in dict.fromkeys([*offered, (run.key, run.value)])
        ]
        return menu, self._pair(run)

    def _pair(self, run: RunSettings) -> Option:
        added_bytes = self._total(run) - self.plan.memory.total_bytes
        return Option(
            f"{run.key.name}/{run.value.name}",
            self.plan.memory.kv_cache_bytes + added_bytes,
            self.judge.caches.cost(run.key, run.value),
        )

    def _ubatch(self, rate: float) -> UbatchVerdict:
        run = self._run
        sizes = {u: self._total(replace(run, ubatch=u)) for u in self._engine.ubatches}
        here_bytes = self._total(run)
        # A ubatch beyond the context takes no more than one of the context's length.
        larger = min((u for u, size in sizes.items() if size > here_bytes), default=None)
        smaller = max((u for u, size in sizes.items() if size < here_bytes), default=None)

        def step(ubatch: int | None) -> Step | None:
            if ubatch is None:
                return None
            changed = abs(sizes[ubatch] - here_bytes)
            return Step(str(ubatch), changed, rate * changed / MIB)

        return UbatchVerdict(run.ubatch, step(larger), step(smaller))

    def _total(self, run: RunSettings) -> int:
        weights_bytes = self.plan.memory.weights_bytes
        return memory_parts(self.spec, weights_bytes, run, self._engine).total_bytes


def _verdict(
    name: str, taken: Option, bits: float, menu: Sequence[Option], rate: float, room: int
) -> Verdict:
    finer = finer_step(taken, menu)
    return Verdict(
        name=name,
        format=taken.name,
        bits=bits,
        bytes=taken.bytes,
        kl_divergence=taken.cost,
        finer=finer,
        coarser=coarser_step(taken, menu),
        reason=_reason(finer, rate, room),
    )


def _reason(finer: Step | None, rate: float, room: int) -> Reason:
    if finer is None:
        return Reason.FINEST
    if finer.nats_per_mib <= rate:
        return Reason.DEAR
    return Reason.ROOM if finer.bytes > room else Reason.OTHER


def _named(menu: Sequence[Option], name: str) -> Option:
    return next(option for option in menu if option.name == name)
