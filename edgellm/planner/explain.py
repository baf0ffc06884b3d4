"""Why a plan gave each tensor its format: what a finer one would save, what a coarser one frees.

Bytes under a cap have a price, the exchange rate: the nats per token that one more byte would save
if formats could be mixed inside a tensor. It is the multiplier of the relaxed multiple-choice
knapsack (Sinha and Zoltners, Operations Research 27(3), 1979): every step along the lower hull of
each tensor's (bytes, cost) is taken in order of what it saves per byte, and the rate is that of the
first step for which no room is left. A best choice takes the steps that save more than the rate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from edgellm.errors import BudgetError
from edgellm.formats import EngineFacts, Tables, WeightFormat
from edgellm.memory import RunSettings, memory_parts, resident_bytes, tensor_bytes
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, settle_plan
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.spec import ModelSpec, TensorSpec

_MIB = 2**20


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
class Step:
    """A change of one choice."""

    to: str  # the format, pair of formats or ubatch instead
    bytes: int  # added by a finer choice, freed by a coarser one
    kl_divergence: float  # nats per token: saved by a finer choice, added by a coarser one

    @property
    def nats_per_mib(self) -> float:
        return _MIB * self.kl_divergence / self.bytes

    def to_json(self) -> dict[str, Any]:
        change = {"bytes": self.bytes, "kl_divergence": self.kl_divergence}
        return {"format": self.to, **change, "nats_per_mib": self.nats_per_mib}


@dataclass(frozen=True, slots=True)
class Choice:
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
class UbatchChoice:
    """The ubatch, and what its neighbours' bytes are worth to the weights at the exchange rate."""

    ubatch: int  # tokens
    larger: Step | None
    smaller: Step | None

    def to_json(self) -> dict[str, Any]:
        return {
            "ubatch": self.ubatch,
            "larger": self.larger and self.larger.to_json(),
            "smaller": self.smaller and self.smaller.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every choice of a plan beside its neighbours, in one currency."""

    cap: Cap
    room_bytes: int  # left free under the cap
    nats_per_mib: float  # the exchange rate; 0 where more bytes buy nothing
    tensors: tuple[Choice, ...]  # every matrix, the costliest first
    kv: Choice
    ubatch: UbatchChoice
    static_kl_divergence: (
        float | None
    )  # of the static table's plan, judged alike; None if it is this

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
            "static_kl_divergence": self.static_kl_divergence,
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
    machine: str,
) -> Explanation:
    """What each choice of `plan` costs, and what its neighbours would change.

    budget: the caps the plan was made for. machine: as `platform.machine` names it.
    """
    return _Explainer(spec, plan, budget, tables, sensitivity, machine).explanation()


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to make a choice."""

    name: str
    bytes: int
    cost: float  # nats per token


def steps_up(offers: Iterable[Offer]) -> list[Step]:
    """The steps along the lower hull of (bytes, cost), from the fewest bytes to the least cost."""
    ordered = sorted(offers, key=lambda offer: (offer.bytes, offer.cost))
    steps, here = [], ordered[0]
    while (step := finer_step(here, ordered)) is not None:
        steps.append(step)
        here = next(offer for offer in ordered if offer.name == step.to)
    return steps


def finer_step(here: Offer, offers: Sequence[Offer]) -> Step | None:
    """The step to lower cost that saves the most per byte; None where nothing costs less."""
    steps = [
        Step(offer.name, offer.bytes - here.bytes, here.cost - offer.cost)
        for offer in offers
        if offer.bytes > here.bytes and offer.cost < here.cost
    ]
    return max(steps, key=lambda step: (step.nats_per_mib, step.bytes), default=None)


def coarser_step(here: Offer, offers: Sequence[Offer]) -> Step | None:
    """The step to fewer bytes that costs the least per byte; None where nothing is smaller."""
    steps = [
        Step(offer.name, here.bytes - offer.bytes, offer.cost - here.cost)
        for offer in offers
        if offer.bytes < here.bytes
    ]
    return min(steps, key=lambda step: (step.nats_per_mib, step.bytes), default=None)


def exchange_rate(menus: Iterable[Sequence[Offer]], cap_bytes: int) -> float:
    """Nats per MiB that the next byte would save where the menus may take `cap_bytes` together."""
    room_bytes, steps = cap_bytes, []
    for menu in menus:
        room_bytes -= min(offer.bytes for offer in menu)
        steps += steps_up(menu)
    for step in sorted(steps, key=lambda step: -step.nats_per_mib):
        room_bytes -= step.bytes
        if room_bytes < 0:
            return step.nats_per_mib
    return 0.0


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
        rate = exchange_rate(menus, sum(offer.bytes for offer in taken) + room)
        tensors = [
            self._tensor_choice(tensor, offer, menu, rate, room)
            for (tensor, _), offer, menu in zip(matrices, taken, menus, strict=True)
        ]
        memory_rate = rate if cap is Cap.MEMORY else 0.0
        return Explanation(
            cap=cap,
            room_bytes=room,
            nats_per_mib=rate,
            tensors=tuple(sorted(tensors, key=lambda choice: -choice.kl_divergence)),
            kv=self._caches(memory_rate),
            ubatch=self._ubatch(memory_rate),
            static_kl_divergence=self._static(),
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

    def _menu(self, tensor: TensorSpec, chosen: str, cap: Cap) -> list[Offer]:
        columns, formats = tensor.shape[-1], self.tables.weight_formats
        offered = [
            fmt.name
            for fmt in formats.values()
            if fmt.plannable and (self.judge.has_imatrix or not fmt.needs_imatrix)
        ]
        names = {self.tables.format_for_rows(name, columns).name for name in offered} | {chosen}
        return [self._offer(tensor, formats[name], cap) for name in sorted(names)]

    def _offer(self, tensor: TensorSpec, fmt: WeightFormat, cap: Cap) -> Offer:
        size = (
            tensor_bytes(tensor, fmt)
            if cap is Cap.BITS
            else resident_bytes(self.spec, tensor, fmt, self._engine, self.machine)
        )
        return Offer(fmt.name, size, self.judge.cost(tensor, fmt))

    def _tensor_choice(
        self, tensor: TensorSpec, taken: Offer, menu: Sequence[Offer], rate: float, room: int
    ) -> Choice:
        bits = self.tables.weight_formats[taken.name].bits_per_weight
        return _choice(tensor.name, taken, bits, menu, rate, room)

    def _caches(self, rate: float) -> Choice:
        """The pair of caches; a pair's bytes include the scratch that reading it takes."""
        run, formats = self._run, self.tables.kv_formats
        pairs = [(formats[key], formats[value]) for key, value in self.tables.kv_ladder]
        fitting = [pair for pair in pairs if all(f.divides(self.spec.head_dim) for f in pair)]
        menu = [
            Offer(
                f"{key.name}/{value.name}",
                self._total(replace(run, key=key, value=value))
                - self._total(run)
                + self.plan.memory.kv_cache_bytes,
                self.judge.kv_cost(key, value),
            )
            for key, value in dict.fromkeys([*fitting, (run.key, run.value)])
        ]
        taken = _named(menu, f"{run.key.name}/{run.value.name}")
        bits = self.plan.kv.bits_per_element
        return _choice("kv_cache", taken, bits, menu, rate, self._memory_room)

    def _ubatch(self, rate: float) -> UbatchChoice:
        def step(ubatch: int) -> Step:
            changed = abs(self._total(replace(run, ubatch=ubatch)) - self._total(run))
            return Step(str(ubatch), changed, rate * changed / _MIB)

        run, offered = self._run, self._engine.ubatches
        larger = min((each for each in offered if each > run.ubatch), default=None)
        smaller = max((each for each in offered if each < run.ubatch), default=None)
        return UbatchChoice(
            run.ubatch,
            None if larger is None else step(larger),
            None if smaller is None else step(smaller),
        )

    def _total(self, run: RunSettings) -> int:
        weights_bytes = self.plan.memory.weights_bytes
        return memory_parts(self.spec, weights_bytes, run, self._engine).total_bytes

    def _static(self) -> float | None:
        """What the static table's plan within the same caps costs by this judge."""
        if self.judge.name == StaticSensitivity.name:
            return None
        caps = replace(self.budget, memory_bytes=self.plan.budget_bytes)
        try:
            plan = make_plan(self.spec, caps, self.tables, machine=self.machine)
        except BudgetError:  # the static table may not use the smallest formats
            return None
        judged = settle_plan(self.spec, plan, self.tables, "static", sensitivity=self.judge)
        return judged.predicted_kl_divergence


def _choice(
    name: str, taken: Offer, bits: float, menu: Sequence[Offer], rate: float, room: int
) -> Choice:
    finer = finer_step(taken, menu)
    return Choice(
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


def _named(menu: Sequence[Offer], name: str) -> Offer:
    return next(offer for offer in menu if offer.name == name)
