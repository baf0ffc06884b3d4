"""What the tensors of a GGUF file are, and which rows of the checkpoint they come from."""

from collections.abc import Container
from dataclasses import dataclass
from typing import ClassVar

from gguf import MODEL_ARCH_NAMES, TensorNameMap

from edgellm.errors import InputError, UnsupportedError
from edgellm.families import FAMILIES
from edgellm.formats import Tables, WeightFormat
from edgellm.plan import Plan, TensorChoice
from edgellm.spec import ModelSpec, Role, TensorSpec

_ROTATED = (Role.ATTN_Q, Role.ATTN_Q_BIAS, Role.ATTN_K, Role.ATTN_K_BIAS)
_ENGINE = "llama.cpp"
_SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One tensor of the file."""

    name: str  # as llama.cpp calls it
    source: str  # as the checkpoint calls it
    shape: tuple[int, ...]
    format: WeightFormat
    head_rows: int | None  # rows of one head when its two rotary halves must be interleaved

    @property
    def bytes(self) -> int:
        return self.format.tensor_bytes(self.shape)

    @property
    def rows(self) -> int:
        """Rows as the checkpoint counts them: entries of the first dimension."""
        return self.shape[0]


def output_tensors(
    spec: ModelSpec, plan: Plan, tables: Tables, measured: Container[str] = ()
) -> tuple[OutputTensor, ...]:
    """Every tensor in the order of the file.

    measured: the tensors that may take a format which needs input statistics.
    Raises InputError for a plan of another model, UnsupportedError for a format that cannot hold a
    tensor.
    """
    if plan.engine != _ENGINE:
        raise InputError(f"the plan is for {plan.engine}; a GGUF file takes one for {_ENGINE}")
    choices = _choices(spec, plan)
    names = gguf_names(spec)
    return tuple(
        OutputTensor(
            names[tensor.name],
            tensor.name,
            tensor.shape,
            _format(tensor, choices[tensor.name], tables, tensor.name in measured),
            _head_rows(spec, tensor.role),
        )
        for tensor in spec.tensors
    )


def _choices(spec: ModelSpec, plan: Plan) -> dict[str, TensorChoice]:
    choices = {choice.name: choice for choice in plan.tensors}
    names = {tensor.name for tensor in spec.tensors}
    for problem, odd in (("lacks", names - set(choices)), ("has", set(choices) - names)):
        if odd:
            raise InputError(
                f"the plan is for another model than {spec.name}: it {problem} {min(odd)}"
                f" (in all {len(odd)} such tensors). Make one with: edgellm plan"
            )
    return choices


def _format(
    tensor: TensorSpec, choice: TensorChoice, tables: Tables, is_measured: bool
) -> WeightFormat:
    fmt = tables.weight_format(choice.format)
    where = f"tensor {tensor.name}"
    if not tensor.is_matrix and fmt.name != "f32":
        raise UnsupportedError(f"{where} is a vector; the plan makes it {fmt.name}", ["f32"])
    if fmt.needs_imatrix and not is_measured:
        have = [name for name, row in tables.weight_formats.items() if not row.needs_imatrix]
        raise UnsupportedError(f"{where}: {fmt.name} needs measured input statistics", have)
    if not fmt.divides(tensor.shape[-1]):
        fitting = tables.format_for_rows(fmt.name, tensor.shape[-1])
        raise UnsupportedError(
            f"{where} has rows of {tensor.shape[-1]} weights; {fmt.name} needs a multiple of "
            f"{fmt.block}",
            [fitting.name],
        )
    needed_bytes = fmt.tensor_bytes(tensor.shape)
    if needed_bytes != choice.bytes:
        raise InputError(
            f"the plan is for another model: {where} takes {needed_bytes} bytes in {fmt.name}, "
            f"not {choice.bytes}. Make one with: edgellm plan"
        )
    return fmt


def _head_rows(spec: ModelSpec, role: Role) -> int | None:
    interleaved = FAMILIES[spec.family].interleaves_rope and role in _ROTATED
    return spec.head_dim if interleaved else None


def gguf_names(spec: ModelSpec) -> dict[str, str]:
    """llama.cpp's name of each tensor, by the checkpoint's."""
    architecture = FAMILIES[spec.family].gguf_architecture
    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)

    class NameMap(TensorNameMap):  # type: ignore[misc]
        # The base class adds one architecture's names to a table that all of them share.
        block_mappings_cfg: ClassVar = dict(TensorNameMap.block_mappings_cfg)

    names = NameMap(arch, spec.layers)
    found = {tensor.name: names.get_name(tensor.name, _SUFFIXES) for tensor in spec.tensors}
    if missing := [name for name, gguf_name in found.items() if gguf_name is None]:
        raise UnsupportedError(f"tensor {missing[0]} has no place in a GGUF {architecture} model")
    assert len(set(found.values())) == len(found), "two tensors share a GGUF name"
    return found
