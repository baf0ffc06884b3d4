"""From a model, a budget and tables to a plan."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NoReturn

from edgellm.errors import FormatError, UsageError
from edgellm.formats import EngineFacts, KVFormat, Tables, WeightFormat
from edgellm.memory import RunSettings, resident_bytes, tensor_bytes
from edgellm.plan import Budget, KVPlan, Plan, TensorChoice
from edgellm.planner.allocation import Candidate, Limits, Menu, smallest, worthwhile
from edgellm.planner.fitting import (
    BPW_CAP,
    WEIGHTS_CAP,
    Fitting,
    refuse_caps,
    refuse_pace,
    refuse_weights,
)
from edgellm.planner.search import Choice, Offer, Search
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.spec import ModelSpec, TensorSpec
from edgellm.speed import CONTEXT_FILL, DecodeSpeed

_NANO = 10**9


def make_plan(
    spec: ModelSpec,
    budget: Budget,
    tables: Tables,
    *,
    engine: str = "llama.cpp",
    sensitivity: Sensitivity | None = None,
    speed: DecodeSpeed | None = None,
    machine: str | None = None,
) -> Plan:
    """The plan with the least predicted KL divergence that stays inside every cap of the budget.

    sensitivity: what judges the tensors and caches, the static priors when None. speed: what
    decoding takes, which a budget with a pace or a preference for speed needs. machine: where the
    model will run, as `platform.machine` names it; this one when None.
    Raises BudgetError when nothing fits, UsageError for a context the model was not made for or a
    budget that needs `speed`.
    """
    planner = _Planner.of(spec, tables, engine, sensitivity, speed, machine)
    return planner.plan(budget, planner.menus(), planner.judge.name)


def uniform_plan(
    spec: ModelSpec,
    format_name: str,
    budget: Budget,
    tables: Tables,
    *,
    engine: str = "llama.cpp",
    speed: DecodeSpeed | None = None,
    machine: str | None = None,
) -> Plan:
    """A plan with one format for every matrix; rows that do not divide take its fallback.

    Raises UsageError for an unknown format or one that needs measured statistics, BudgetError when
    it does not fit.
    """
    weight_format = tables.weight_format(format_name)
    planner = _Planner.of(spec, tables, engine, None, speed, machine)
    planner.check_writable(weight_format)
    return planner.plan(budget, planner.menus([weight_format]), "uniform")


def settle_plan(
    spec: ModelSpec,
    plan: Plan,
    tables: Tables,
    source: str,
    *,
    sensitivity: Sensitivity | None = None,
    speed: DecodeSpeed | None = None,
) -> Plan:
    """A plan edited by hand, with every derived figure computed anew from its choices.

    source: names the plan in errors. sensitivity, speed: as in `make_plan`.
    Raises FormatError where it does not match the model.
    """
    try:
        planner = _Planner.of(spec, tables, plan.engine, sensitivity, speed, None)
        planner.fitting.check_context(plan.kv.context)
    except UsageError as error:
        raise FormatError(source, str(error)) from error
    names = [tensor.name for tensor in plan.tensors]
    if names != [tensor.name for tensor in spec.tensors]:
        raise FormatError(source, f"weights.tensors are not those of {spec.name}, in their order")
    pairs = zip(spec.tensors, plan.tensors, strict=True)
    chosen = [planner.named(tensor, choice, source) for tensor, choice in pairs]
    key = planner.cache_format("key_format", plan.kv.key_format, source)
    value = planner.cache_format("value_format", plan.kv.value_format, source)
    run = RunSettings(key, value, plan.kv.context, plan.ubatch)
    choice = planner.chosen(chosen, run)
    settled = planner.describe(choice, plan.budget_bytes, plan.sensitivity)
    if settled.memory != plan.memory or settled.bits_per_weight != plan.bits_per_weight:
        return settled
    # What was tried and timed holds for exactly these choices; an edit shows in the bytes.
    tokens_per_s = settled.predicted_tokens_per_s or plan.predicted_tokens_per_s
    return replace(settled, trial=plan.trial, predicted_tokens_per_s=tokens_per_s)


@dataclass(frozen=True, slots=True)
class _Planner:
    """One model, one engine, one judge."""

    spec: ModelSpec
    tables: Tables
    engine: EngineFacts
    machine: str
    judge: Sensitivity
    speed: DecodeSpeed | None

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        tables: Tables,
        engine: str,
        sensitivity: Sensitivity | None,
        speed: DecodeSpeed | None,
        machine: str | None,
    ) -> "_Planner":
        if engine not in tables.engines:
            raise UsageError(f"engine {engine!r} is unknown; engines: {', '.join(tables.engines)}")
        return cls(
            spec=spec,
            tables=tables,
            engine=tables.engines[engine],
            machine=machine or platform.machine(),
            judge=sensitivity or StaticSensitivity(spec, tables),
            speed=speed,
        )

    @property
    def fitting(self) -> Fitting:
        return Fitting(self.spec, self.tables, self.engine, self.judge.caches)

    def menus(self, formats: Iterable[WeightFormat] | None = None) -> list[Menu]:
        """What each tensor may become: any plannable format, or only `formats`."""
        offered = self._plannable() if formats is None else list(formats)
        return [self._menu(tensor, offered) for tensor in self.spec.tensors]

    def plan(self, budget: Budget, menus: Sequence[Menu], sensitivity: str) -> Plan:
        """The cheapest choice from the menus, a cache pair and a ubatch inside the budget."""
        self._check_pace(budget)
        self.fitting.check_context(budget.context)
        least_bytes = smallest(menus, "memory_bytes")
        runs = self.fitting.runs(budget.context, least_bytes, budget.memory_bytes)
        search = Search(menus, self._offers(runs), self._limits(budget, menus))
        choice = search.best(budget.preference)
        if choice is None:
            self._refuse(search, budget)
        return self.describe(choice, budget.memory_bytes, sensitivity)

    def check_writable(self, weight_format: WeightFormat) -> None:
        if weight_format.needs_imatrix and not self.judge.has_imatrix:
            raise UsageError(
                f"weight format {weight_format.name} needs measured input statistics; formats "
                f"that do not: {', '.join(fmt.name for fmt in self._writable())}"
            )

    def named(self, tensor: TensorSpec, choice: TensorChoice, source: str) -> Candidate:
        """The candidate a plan names for a tensor. Raises FormatError where it cannot be."""
        expected = [fmt.name for fmt in self._writable()] if tensor.is_matrix else ["f32"]
        if choice.format not in expected:
            known = ", ".join(expected)
            raise FormatError(source, f"{tensor.name} has format {choice.format}; expected {known}")
        weight_format = self.tables.weight_formats[choice.format]
        if not weight_format.divides(tensor.shape[-1]):
            raise FormatError(
                source,
                f"{tensor.name} has rows of {tensor.shape[-1]} weights; {choice.format} needs a "
                f"multiple of {weight_format.block}",
            )
        return self._candidate(tensor, weight_format)

    def cache_format(self, field: str, name: str, source: str) -> KVFormat:
        """The cache format a plan names. Raises FormatError where heads do not fit it."""
        formats = self.tables.kv_formats
        fitting = [fmt.name for fmt in formats.values() if fmt.divides(self.spec.head_dim)]
        if name in fitting:
            return formats[name]
        raise FormatError(source, f"kv.{field} is {name}; expected {', '.join(fitting)}")

    def chosen(self, tensors: Sequence[Candidate], run: RunSettings) -> Choice:
        """What a choice made elsewhere adds up to."""
        every = (*tensors, self._run_candidate(run))
        cost, nanoseconds = sum(c.cost for c in every), sum(c.nanoseconds for c in every)
        return Choice(tensors, run, cost, nanoseconds)

    def describe(self, choice: Choice, budget_bytes: int | None, sensitivity: str) -> Plan:
        """The plan that a choice amounts to."""
        run = choice.run
        stored_bytes = sum(candidate.stored_bytes for candidate in choice.tensors)
        memory = self.fitting.parts(run, sum(c.weights_bytes for c in choice.tensors))
        pairs = zip(self.spec.tensors, choice.tensors, strict=True)
        return Plan(
            engine=self.engine.name,
            budget_bytes=memory.total_bytes if budget_bytes is None else budget_bytes,
            ubatch=run.ubatch,
            memory=memory,
            tensors=tuple(TensorChoice(t.name, c.name, c.stored_bytes) for t, c in pairs),
            bits_per_weight=8 * stored_bytes / self.spec.parameters,
            kv=KVPlan(
                key_format=run.key.name,
                value_format=run.value.name,
                bits_per_element=(run.key.bits_per_element + run.value.bits_per_element) / 2,
                context=run.context,
            ),
            sensitivity=sensitivity,
            predicted_kl_divergence=choice.cost,
            predicted_tokens_per_s=_NANO / choice.nanoseconds if choice.nanoseconds else None,
        )

    def _check_pace(self, budget: Budget) -> None:
        pace = budget.min_tokens_per_s
        if pace is not None and not pace > 0:
            raise UsageError(f"a pace of {pace:g} tokens/s: give more than 0")
        if self.speed is None and (pace is not None or budget.preference != "quality"):
            raise UsageError("a budget with a pace or a preference for speed needs measured speed")

    def _refuse(self, search: Search, budget: Budget) -> NoReturn:
        """Say which limits exclude each other, when each alone can be met."""
        limits = search.limits
        if limits.nanoseconds is not None and (fastest := search.fastest()) is not None:
            refuse_pace(
                self.spec,
                self.describe(fastest, budget.memory_bytes, self.judge.name),
                budget.min_tokens_per_s or 0.0,
            )
        assert limits.stored_bytes is not None
        lightest = [min(m, key=lambda c: (c.stored_bytes, c.weights_bytes)) for m in search.menus]
        run = self.fitting.least(budget.context)
        beside_bytes = self.fitting.parts(run, 0).total_bytes
        room = [
            limits.memory_bytes - beside_bytes if limits.memory_bytes is not None else None,
            limits.weights_bytes,
        ]
        refuse_caps(
            self.spec,
            sum(candidate.weights_bytes for candidate in lightest),
            min(each for each in room if each is not None),
            limits.stored_bytes,
        )

    def _limits(self, budget: Budget, menus: Sequence[Menu]) -> Limits:
        """The caps as limits. Raises BudgetError for one that the smallest weights exceed."""
        stored = pace = None
        if budget.weights_bytes is not None:
            least = smallest(menus, "weights_bytes")
            if least > budget.weights_bytes:
                refuse_weights(self.spec, least, budget.weights_bytes, WEIGHTS_CAP)
        if budget.target_bpw is not None:
            stored = int(budget.target_bpw * self.spec.parameters / 8)
            least = smallest(menus, "stored_bytes")
            if least > stored:
                refuse_weights(self.spec, least, stored, BPW_CAP)
        if budget.min_tokens_per_s is not None:
            pace = int(_NANO / budget.min_tokens_per_s)
        return Limits(budget.memory_bytes, budget.weights_bytes, stored, pace)

    def _offers(self, runs: Sequence[RunSettings]) -> list[Offer]:
        """The runs of each ubatch, in their order."""
        offers: dict[int, dict[Candidate, RunSettings]] = {}
        for run in runs:
            offers.setdefault(run.ubatch, {})[self._run_candidate(run)] = run
        return list(offers.values())

    def _run_candidate(self, run: RunSettings) -> Candidate:
        beside_bytes = self.fitting.parts(run, 0).total_bytes
        return Candidate(
            name=f"{run.key.name}/{run.value.name}",
            stored_bytes=0,
            weights_bytes=0,
            # As the tensors are padded: the program counts in the largest unit all sizes share.
            memory_bytes=self.engine.padded_tensor_bytes(beside_bytes),
            cost=self.judge.caches.cost(run.key, run.value),
            nanoseconds=self._run_nanoseconds(run),
        )

    def _run_nanoseconds(self, run: RunSettings) -> int:
        """Of reading a cache as full as speeds are stated for, and of what no choice changes."""
        spec, speed = self.spec, self.speed
        if speed is None:
            return 0
        tokens = CONTEXT_FILL * run.context
        attention = speed.kv_seconds(spec, run.key.name, run.value.name, tokens)
        return _nanoseconds(attention + speed.fixed_seconds(spec))

    def _plannable(self) -> list[WeightFormat]:
        return [fmt for fmt in self._writable() if fmt.plannable]

    def _writable(self) -> list[WeightFormat]:
        every = self.tables.weight_formats.values()
        return [fmt for fmt in every if self.judge.has_imatrix or not fmt.needs_imatrix]

    def _menu(self, tensor: TensorSpec, offered: Sequence[WeightFormat]) -> Menu:
        if not tensor.is_matrix:
            return (self._candidate(tensor, self.tables.weight_formats["f32"]),)
        columns = tensor.shape[-1]
        names = {self.tables.format_for_rows(fmt.name, columns).name for fmt in offered}
        formats = (self.tables.weight_formats[name] for name in names)
        return worthwhile([self._candidate(tensor, fmt) for fmt in formats])

    def _candidate(self, tensor: TensorSpec, weight_format: WeightFormat) -> Candidate:
        spec, speed = self.spec, self.speed
        loaded_bytes = resident_bytes(spec, tensor, weight_format, self.engine, self.machine)
        seconds = speed.tensor_seconds(spec, tensor, weight_format.name) if speed else 0.0
        return Candidate(
            name=weight_format.name,
            stored_bytes=tensor_bytes(tensor, weight_format),
            weights_bytes=loaded_bytes,
            memory_bytes=loaded_bytes,
            cost=self.judge.cost(tensor, weight_format) if tensor.is_matrix else 0.0,
            nanoseconds=_nanoseconds(seconds),
        )


def _nanoseconds(seconds: float) -> int:
    """Rounded up, so that what is promised is kept."""
    return ceil(_NANO * seconds)
