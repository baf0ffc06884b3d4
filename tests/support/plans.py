"""Plans that fix the formats, without a planner."""

from edgellm.formats import Tables
from edgellm.plan import KVPlan, MemoryParts, Plan, TensorChoice
from edgellm.spec import ModelSpec, Role


def make_plan(tensors: tuple[TensorChoice, ...]) -> Plan:
    """A plan that claims nothing but its tensors."""
    weights_bytes = sum(choice.bytes for choice in tensors)
    return Plan(
        engine="llama.cpp",
        budget_bytes=weights_bytes,
        ubatch=512,
        memory=MemoryParts(weights_bytes, 0, 0, 0),
        tensors=tensors,
        bits_per_weight=8.0,
        kv=KVPlan("q8_0", "q8_0", 8.5, 512),
        sensitivity="uniform",
        predicted_kl_divergence=None,
        predicted_tokens_per_s=None,
    )


def fixed_plan(
    spec: ModelSpec, tables: Tables, name: str, by_role: dict[Role, str] | None = None
) -> Plan:
    """Every matrix in the format `name`, or in its role's; vectors in f32."""
    choices = []
    for tensor in spec.tensors:
        wanted = (by_role or {}).get(tensor.role, name) if tensor.is_matrix else "f32"
        fmt = tables.format_for_rows(wanted, tensor.shape[-1])
        choices.append(TensorChoice(tensor.name, fmt.name, fmt.tensor_bytes(tensor.shape)))
    return make_plan(tuple(choices))
