"""What the dialog of a conversion says: a plan, a refusal, work under way, the end."""

from collections import Counter
from collections.abc import Iterator

from rich.text import Text

from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.making.jobs import Planned
from edgellm.apps.chat.widgets import figures
from edgellm.apps.cli.tables import BAR_WIDTH, memory_lines, trial_lines
from edgellm.apps.free_memory import FreeMemory
from edgellm.apps.terminal_text import one_line
from edgellm.artifact import Artifact
from edgellm.errors import BudgetError, Cancelled, EdgeLLMError
from edgellm.plan import MemoryParts, Plan
from edgellm.units import format_bytes

_PARTS = MemoryParts(0, 0, 0, 0).to_json().keys()
_BAR_CELLS = 8  # of work under way
_BESIDE_BAR_CELLS = 26  # of a line of memory


def plan_text(planned: Planned, memory: FreeMemory, cells: int) -> Text:
    """The plan in a width, with the bars of `edgellm plan`, and what to know of the memory."""
    plan = planned.plan
    bars = memory_lines(plan.memory, plan.budget_bytes, _bar_cells(cells))
    text = Text("\n".join([_decided(plan), *_predicted(plan), _formats(plan), *bars]))
    beside = FreeMemory(memory.free_bytes, memory.total_bytes)
    if memory.returned_bytes and plan.memory.total_bytes > beside.usable_bytes:
        text.append("\nIt fits once the loaded model has gone, not beside it.", "yellow")
    notes = [*(trial_lines(plan.trial) if plan.trial else ()), *planned.notes]
    for note in notes:
        text.append(f"\n{one_line(note)}", "dim")
    return text


def _decided(plan: Plan) -> str:
    kv = plan.kv
    return (
        f"{plan.bits_per_weight:.2f} bits per weight · K {kv.key_format}, V {kv.value_format} · "
        f"{figures.count(kv.context)} tokens"
    )


def _predicted(plan: Plan) -> Iterator[str]:
    parts = []
    if plan.predicted_kl_divergence is not None:
        judged = f"nats per token ({plan.sensitivity})"
        parts.append(f"predicted: KL divergence {plan.predicted_kl_divergence:.4f} {judged}")
    if plan.predicted_tokens_per_s is not None:
        parts.append(f"{figures.rate(plan.predicted_tokens_per_s)} tokens/s here")
    if parts:
        yield " · ".join(parts)


def _formats(plan: Plan) -> str:
    counts = Counter(choice.format for choice in plan.tensors)
    return "tensors: " + "  ".join(f"{name} x{count}" for name, count in counts.most_common())


def error_text(error: EdgeLLMError, cells: int) -> Text:
    """What went wrong, in one line; of what does not fit also the figures."""
    if isinstance(error, BudgetError) and error.parts.keys() == _PARTS:
        return refusal_text(error, cells)
    if isinstance(error, Cancelled):
        return Text(
            "Stopped. What was done is kept: the next time it goes on from there.", "yellow"
        )
    return Text(one_line(str(error)), "red")  # wraps in any width


def refusal_text(error: BudgetError, cells: int) -> Text:
    """What would be needed, and what would fit as it is."""
    needed, budget = format_bytes(error.needed_bytes), format_bytes(error.budget_bytes)
    short = format_bytes(error.needed_bytes - error.budget_bytes)
    text = Text(f"It does not fit: {needed} are needed at least, {short} more than ", "red")
    text.append(f"{budget}.\n")
    if error.largest_context:
        text.append(f"A context of {figures.count(error.largest_context)} tokens would fit.\n")
    else:
        text.append(f"No context fits {budget}.\n")
    parts = {name: count for name, count in error.parts.items() if name != "total_bytes"}
    lines = memory_lines(MemoryParts(**parts), error.budget_bytes, _bar_cells(cells))
    return text.append("\n".join(lines), "default")


def notes_text(hearing: Hearing) -> Text:
    """What was said along the way."""
    return Text("\n".join(one_line(note) for note in hearing.notes), "dim")


def done_text(artifact: Artifact, cells: int) -> Text:
    """What was made; it wraps in any width."""
    plan, name = artifact.plan, artifact.folder.name
    text = Text(f"{name} is ready.\n", "green")
    for file in artifact.files:
        text.append(f"{one_line(file.path)}: {format_bytes(file.bytes)}\n", "default")
    return text.append(
        f"{plan.bits_per_weight:.2f} bits per weight, {figures.count(plan.kv.context)} tokens of "
        f"context, {format_bytes(plan.memory.total_bytes)} of memory",
        "default",
    )


def _bar_cells(cells: int) -> int:
    return max(min(BAR_WIDTH, cells - _BESIDE_BAR_CELLS), 4)
