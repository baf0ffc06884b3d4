"""From a model, a budget and tables to a plan."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgellm.errors import FormatError, UsageError
from edgellm.formats import EngineFacts, KVFormat, Tables, WeightFormat
from edgellm.memory import RunSettings, resident_bytes, tensor_bytes
from edgellm.plan import Budget, KVPlan, Plan, TensorChoice
from edgellm.planner.allocation import (
    Candidate,
    Limits,
    Menu,
    allocate,
    smallest_resident,
    smallest_stored,
    worthwhile,
)
from edgellm.planner.fitting import BPW_CAP, WEIGHTS_CAP, Fitting, refuse_caps, refuse_weights
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.spec import ModelSpec, TensorSpec

# A larger ubatch reads prompts faster; that is worth this much predicted KL divergence, as a factor
# of the least that any ubatch allows.
UBATCH_WORTH = 1.25


def make_plan(
    spec: ModelSpec,
    budget: Budget,
    tables: Tables,
    *,
    engine: str = "llama.cpp",
    sensitivity: Sensitivity | None = None,
    machine: str | None = None,
) -> Plan:
    """The plan with the least predicted KL divergence that stays inside every cap of the budget.

    sensitivity: what judges the tensors, the static priors when None. machine: where the model
    will run, as `platform.machine` names it; this one when None.
    Raises BudgetError when nothing fits, UsageError for a context the model was not made for.
    """
    planner = _Planner.of(spec, tables, engine, sensitivity, machine)
    return planner.plan(budget, planner.menus(), planner.judge.name)


def uniform_plan(
    spec: ModelSpec,
    format_name: str,
    budget: Budget,
    tables: Tables,
    *,
    engine: str = "llama.cpp",
    machine: str | None = None,
) -> Plan:
    """A plan with one format for every matrix; rows that do not divide take its fallback.

    Raises UsageError for an unknown format or one that needs measured statistics, BudgetError when
    it does not fit.
    """
    weight_format = tables.weight_format(format_name)
    planner = _Planner.of(spec, tables, engine, None, machine)
    planner.check_writable(weight_format)
    return planner.plan(budget, planner.menus([weight_format]), "uniform")


def settle_plan(
    spec: ModelSpec,
    plan: Plan,
    tables: Tables,
    source: str,
    *,
    sensitivity: Sensitivity | None = None,
) -> Plan:
    """A plan edited by hand, with every derived figure computed anew from its choices.

    source: names the plan in errors. sensitivity: as in `make_plan`.
    Raises FormatError where it does not match the model.
    """
    try:
        planner = _Planner.of(spec, tables, plan.engine, sensitivity, None)
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
    return planner.describe(chosen, run, plan.budget_bytes, plan.sensitivity)


@dataclass(frozen=True, slots=True)
class _Planner:
    """One model, one engine, one judge."""

    spec: ModelSpec
    tables: Tables
    engine: EngineFacts
    machine: str
    judge: Sensitivity

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        tables: Tables,
        engine: str,
        sensitivity: Sensitivity | None,
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
        )

    @property
    def fitting(self) -> Fitting:
        return Fitting(self.spec, self.tables, self.engine)

    def menus(self, formats: Iterable[WeightFormat] | None = None) -> list[Menu]:
        """What each tensor may become: any plannable format, or only `formats`."""
        offered = self._plannable() if formats is None else list(formats)
        return [self._menu(tensor, offered) for tensor in self.spec.tensors]

    def plan(self, budget: Budget, menus: Sequence[Menu], sensitivity: str) -> Plan:
        """The cheapest choice from the menus inside the budget."""
        fitting = self.fitting
        fitting.check_context(budget.context)
        runs = fitting.runs(budget.context, smallest_resident(menus), budget.memory_bytes)
        # The smallest ubatch leaves the weights most; a larger one has to come close to that.
        best_cost = _cost(self._choose(runs[-1], budget, menus))
        for run in runs:
            chosen = self._choose(run, budget, menus)
            if run == runs[-1] or _cost(chosen) <= UBATCH_WORTH * best_cost:
                break
        return self.describe(chosen, run, budget.memory_bytes, sensitivity)

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

    def describe(
        self,
        chosen: Sequence[Candidate],
        run: RunSettings,
        budget_bytes: int | None,
        sensitivity: str,
    ) -> Plan:
        """The plan that a choice amounts to."""
        weights_bytes = sum(candidate.resident_bytes for candidate in chosen)
        stored_bytes = sum(candidate.stored_bytes for candidate in chosen)
        memory = self.fitting.parts(run, weights_bytes)
        pairs = zip(self.spec.tensors, chosen, strict=True)
        cost = _cost(chosen) + self.judge.kv_cost(run.key, run.value)
        return Plan(
            engine=self.engine.name,
            budget_bytes=memory.total_bytes if budget_bytes is None else budget_bytes,
            ubatch=run.ubatch,
            memory=memory,
            tensors=tuple(TensorChoice(t.name, c.format, c.stored_bytes) for t, c in pairs),
            bits_per_weight=8 * stored_bytes / self.spec.parameters,
            kv=KVPlan(
                key_format=run.key.name,
                value_format=run.value.name,
                bits_per_element=(run.key.bits_per_element + run.value.bits_per_element) / 2,
                context=run.context,
            ),
            sensitivity=sensitivity,
            predicted_kl_divergence=cost,
            predicted_tokens_per_s=None,
        )

    def _choose(
        self, run: RunSettings, budget: Budget, menus: Sequence[Menu]
    ) -> Sequence[Candidate]:
        """The cheapest choice beside these settings. Raises BudgetError when caps exclude it."""
        limits = self._limits(budget, menus, self.fitting.parts(run, 0).total_bytes)
        chosen = allocate(menus, limits)
        if chosen is not None:
            return chosen
        assert limits.resident_bytes is not None
        assert limits.stored_bytes is not None
        lightest = (min(menu, key=lambda c: (c.stored_bytes, c.resident_bytes)) for menu in menus)
        needed_bytes = sum(candidate.resident_bytes for candidate in lightest)
        refuse_caps(self.spec, needed_bytes, limits.resident_bytes, limits.stored_bytes)

    def _limits(self, budget: Budget, menus: Sequence[Menu], beside_bytes: int) -> Limits:
        """The caps as byte limits. Raises BudgetError for one that the smallest weights exceed."""
        resident, stored = [], None
        if budget.memory_bytes is not None:
            resident.append(budget.memory_bytes - beside_bytes)
        if budget.weights_bytes is not None:
            resident.append(budget.weights_bytes)
            if smallest_resident(menus) > budget.weights_bytes:
                least = smallest_resident(menus)
                refuse_weights(self.spec, least, budget.weights_bytes, WEIGHTS_CAP)
        if budget.target_bpw is not None:
            stored = int(budget.target_bpw * self.spec.parameters / 8)
            if smallest_stored(menus) > stored:
                refuse_weights(self.spec, smallest_stored(menus), stored, BPW_CAP)
        return Limits(min(resident, default=None), stored)

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
        return Candidate(
            format=weight_format.name,
            stored_bytes=tensor_bytes(tensor, weight_format),
            resident_bytes=resident_bytes(
                self.spec, tensor, weight_format, self.engine, self.machine
            ),
            cost=self.judge.cost(tensor, weight_format) if tensor.is_matrix else 0.0,
        )


def _cost(chosen: Sequence[Candidate]) -> float:
    return sum(candidate.cost for candidate in chosen)
