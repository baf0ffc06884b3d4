"""Plans, parts of memory and files as lines of text that fit 80 columns."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from edgellm.artifact import FileEntry
from edgellm.plan import MemoryParts, Plan, TensorChoice, Trial
from edgellm.spec import ModelSpec, Role
from edgellm.units import format_bytes

BAR_WIDTH = 32


def memory_lines(
    memory: MemoryParts, budget_bytes: int, bar_width: int = BAR_WIDTH
) -> Iterator[str]:
    """The parts of a memory prediction as bars, scaled to the budget."""
    parts = (
        ("weights", memory.weights_bytes),
        ("KV cache", memory.kv_cache_bytes),
        ("compute", memory.compute_bytes),
        ("overhead", memory.overhead_bytes),
        ("total", memory.total_bytes),
        ("budget", budget_bytes),
    )
    scale_bytes = max(budget_bytes, memory.total_bytes, 1)
    for label, part_bytes in parts:
        bar = "█" * round(bar_width * part_bytes / scale_bytes)
        yield f"  {label:<9}{format_bytes(part_bytes):>12}  {bar}"


def format_lines(spec: ModelSpec, tensors: Iterable[TensorChoice]) -> Iterator[str]:
    """Formats by role: how many tensors of a role took each format, and their bytes."""
    roles = {tensor.name: tensor.role for tensor in spec.tensors if tensor.is_matrix}
    formats: Mapping[Role, Counter[str]] = defaultdict(Counter)
    role_bytes: Counter[Role] = Counter()
    for choice in tensors:
        if choice.name in roles:
            role = roles[choice.name]
            formats[role][choice.format] += 1
            role_bytes[role] += choice.bytes
    for role, counts in formats.items():
        mix = "  ".join(f"{name} x{count}" for name, count in counts.most_common())
        yield f"  {role:<16}{format_bytes(role_bytes[role]):>12}  {mix}"


def plan_lines(plan: Plan) -> Iterator[str]:
    """The decisions of a plan without its tensors."""
    kv = plan.kv
    yield (
        f"{plan.bits_per_weight:.2f} bits per weight, {kv.context} tokens of context, "
        f"KV cache {kv.key_format}/{kv.value_format}, ubatch {plan.ubatch}"
    )
    if plan.predicted_kl_divergence is not None:
        yield (
            f"predicted KL divergence {plan.predicted_kl_divergence:.4f} nats per token "
            f"({plan.sensitivity} sensitivity)"
        )
    if plan.predicted_tokens_per_s is not None:
        yield f"predicted decoding speed {plan.predicted_tokens_per_s:.1f} tokens/s on this machine"
    if plan.trial is not None:
        yield from trial_lines(plan.trial)
    yield from memory_lines(plan.memory, plan.budget_bytes)


def trial_lines(trial: Trial) -> Iterator[str]:
    """How the plan did beside a static one."""
    yield (
        f"the weights alone measured {trial.kl_divergence:.4f}; "
        f"those of a static plan of equal bytes {trial.static_kl_divergence:.4f}"
    )
    if trial.static_won:
        yield "the static plan measured better and was taken"


def file_lines(files: Iterable[FileEntry]) -> Iterator[str]:
    """Files of an artifact with their sizes and checksums."""
    for file in files:
        yield f"  {file.path:<16}{format_bytes(file.bytes):>12}  sha256 {file.sha256[:16]}"
