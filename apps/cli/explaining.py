"""What `plan --explain` says: a summary in words, then every choice, the costliest first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from textwrap import wrap

from edgellm.planner.exchange import Step
from edgellm.planner.explain import Cap, Explanation, Reason, UbatchVerdict, Verdict
from edgellm.spec import ModelSpec, Role, TensorSpec
from edgellm.units import format_bytes

WIDTH = 79
NAMED_AT_MOST = 3  # roles, and layers, in the summary
_LABEL_WIDTH = 22
_WHY = {
    Reason.DEAR: "finer, too dear",
    Reason.ROOM: "finer, no room",
    Reason.OTHER: "finer, not taken",
}
_UNDER = {
    Cap.MEMORY: "",
    Cap.WEIGHTS: " under the cap on the weights' memory",
    Cap.BITS: " under the cap on bits per weight",
}


def explanation_lines(spec: ModelSpec, explanation: Explanation) -> Iterator[str]:
    """The whole explanation; every line fits 80 columns."""
    for paragraph in _summary(spec, explanation):
        yield from wrap(paragraph, WIDTH)
    yield ""
    yield f"  {'':<{_LABEL_WIDTH}} {'format':<10}{'bits':>5} {'nats':>9} {'share':>6} " + (
        f"{'bytes':>12} {'nats/MiB':>8}"
    )
    total = explanation.kl_divergence
    rows = [*_groups(spec, explanation.tensors), _Row("KV cache", (explanation.kv,))]
    for row in sorted(rows, key=lambda row: -row.kl_divergence):
        yield from row.lines(total)


@dataclass(frozen=True, slots=True)
class _Row:
    """Choices that are alike, told together."""

    label: str
    choices: Sequence[Verdict]

    @property
    def kl_divergence(self) -> float:
        return sum(choice.kl_divergence for choice in self.choices)

    def lines(self, total: float) -> Iterator[str]:
        first = self.choices[0]
        size = format_bytes(sum(choice.bytes for choice in self.choices))
        share = _percent(self.kl_divergence, total)
        yield (
            f"  {self.label:<{_LABEL_WIDTH}} {first.format:<10}{first.bits:>5.2f} "
            f"{self.kl_divergence:>9.3g} {share:>6} {size:>12}"
        )
        if finer := _together(choice.finer for choice in self.choices):
            yield _step_line(_WHY[first.reason], finer, +1)
        if coarser := _together(choice.coarser for choice in self.choices):
            yield _step_line("coarser", coarser, -1)


def _step_line(label: str, step: Step, direction: int) -> str:
    """direction: 1 towards more bytes, -1 towards fewer."""
    nats = f"{-direction * step.kl_divergence:+.3g}"
    size = f"{'+' if direction > 0 else '-'}{format_bytes(step.bytes)}"
    return (
        f"    {label:<{_LABEL_WIDTH - 2}} {step.to:<10}{'':>5} {nats:>9} {'':>6} "
        f"{size:>12} {step.nats_per_mib:>8.2g}"
    )


def _together(steps: Iterable[Step | None]) -> Step | None:
    """Steps to one format, taken in every tensor of a group."""
    taken = [step for step in steps if step is not None]
    if not taken:
        return None
    total_bytes = sum(step.bytes for step in taken)
    return Step(taken[0].to, total_bytes, sum(step.kl_divergence for step in taken))


def _groups(spec: ModelSpec, choices: Iterable[Verdict]) -> Iterator[_Row]:
    tensors = _by_name(spec)
    alike: dict[tuple[object, ...], list[Verdict]] = defaultdict(list)
    for choice in choices:
        neighbours = [step and step.to for step in (choice.finer, choice.coarser)]
        role = tensors[choice.name].role
        alike[role, choice.format, choice.reason, *neighbours].append(choice)
    for group in alike.values():
        yield _Row(_label([tensors[choice.name] for choice in group]), group)


def _label(tensors: Sequence[TensorSpec]) -> str:
    """The role, and its layers where there is room: "ffn_down 0-2,7"."""
    layers = sorted(tensor.layer for tensor in tensors if tensor.layer is not None)
    text = f"{tensors[0].role} {','.join(_ranges(layers))}".rstrip()
    return text if len(text) <= _LABEL_WIDTH else f"{tensors[0].role} x{len(tensors)}"


def _ranges(layers: Sequence[int]) -> Iterator[str]:
    breaks = [i + 1 for i, (a, b) in enumerate(pairwise(layers)) if b > a + 1]
    for start, end in pairwise([0, *breaks, len(layers)] if layers else []):
        first, last = layers[start], layers[end - 1]
        yield str(first) if first == last else f"{first}-{last}"


def _summary(spec: ModelSpec, explanation: Explanation) -> Iterator[str]:
    total = explanation.kl_divergence
    yield (
        f"Of {total:.3g} nats per token, the KV cache ({explanation.kv.format}) costs "
        f"{_percent(explanation.kv.kl_divergence, total)} and the weights the rest."
    )
    yield _dominance(spec, explanation)
    yield _rate(explanation)
    yield _ubatch(explanation.ubatch)
    if explanation.static_taken:
        yield (
            "These formats are the static table's, which measured better; the figures are what "
            "this model's measurements predict of them."
        )


def _dominance(spec: ModelSpec, explanation: Explanation) -> str:
    """Which roles and which layers most of the divergence comes from."""
    tensors, total = _by_name(spec), explanation.kl_divergence
    roles: Counter[Role] = Counter()
    role_bytes: Counter[Role] = Counter()
    layers: Counter[int] = Counter()
    for choice in explanation.tensors:
        tensor = tensors[choice.name]
        roles[tensor.role] += choice.kl_divergence  # type: ignore[assignment]
        role_bytes[tensor.role] += choice.bytes
        if tensor.layer is not None:
            layers[tensor.layer] += choice.kl_divergence  # type: ignore[assignment]
    weights_bytes = role_bytes.total()
    parts = [
        f"{role} {_percent(cost, total)} in {_percent(role_bytes[role], weights_bytes)} of bytes"
        for role, cost in roles.most_common(NAMED_AT_MOST)
    ]
    deep = [f"{layer} {_percent(cost, total)}" for layer, cost in layers.most_common(NAMED_AT_MOST)]
    return f"Costliest roles: {', '.join(parts)}. Costliest layers: {', '.join(deep)}."


def _rate(explanation: Explanation) -> str:
    left = format_bytes(explanation.room_bytes)
    if explanation.nats_per_mib == 0:
        return f"The finest formats fit; {left} are left, and more would buy nothing."
    return (
        f"The exchange rate{_UNDER[explanation.cap]} is {explanation.nats_per_mib:.2g} nats per "
        "MiB: a finer format is taken where its bytes save more than that and find room, and is "
        f"too dear where they save less. {left} are left."
    )


def _ubatch(choice: UbatchVerdict) -> str:
    def neighbour(step: Step, verb: str) -> str:
        worth = f" (worth {step.kl_divergence:.2g} nats in finer weights)"
        size = format_bytes(step.bytes)
        return f"; {step.to} would {verb} {size}{worth if step.kl_divergence else ''}"

    smaller = neighbour(choice.smaller, "free") if choice.smaller else ""
    larger = neighbour(choice.larger, "take") if choice.larger else ""
    return f"Prompts are read {choice.ubatch} tokens at once{smaller}{larger}."


def _by_name(spec: ModelSpec) -> dict[str, TensorSpec]:
    return {tensor.name: tensor for tensor in spec.tensors}


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else "0.0%"
