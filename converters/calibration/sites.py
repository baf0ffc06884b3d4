"""Where in the graph each matrix of the checkpoint does its work."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.converters.calibration.graph import MATRIX_PRODUCT, ROW_LOOKUP, Node
from edgellm.converters.gguf.tensors import gguf_names
from edgellm.errors import InputError, UnsupportedError
from edgellm.gguf_file import read_gguf
from edgellm.spec import ModelSpec, Role

_FAITHFUL_TYPES = {0: "f32", 1: "f16", 30: "bf16", 8: "q8_0"}  # by ggml type


@dataclass(frozen=True, slots=True)
class Site:
    """One use of one matrix; a tied embedding has two."""

    name: str  # as the checkpoint calls the matrix
    weight: str  # as llama.cpp does
    operation: str
    rows: int  # output channels, or entries of a lookup
    columns: int  # input channels
    is_head: bool

    @property
    def is_lookup(self) -> bool:
        return self.operation == ROW_LOOKUP

    def is_at(self, node: Node) -> bool:
        return node.operation == self.operation and node.weight == self.weight


def find_sites(gguf: Path, spec: ModelSpec) -> tuple[Site, ...]:
    """Every use of every matrix, in the order of the file.

    Raises InputError for a file of another model, UnsupportedError for one already quantized,
    FormatError for a broken one.
    """
    names = gguf_names(spec)
    stored = {tensor.name: tensor for tensor in read_gguf(gguf).tensors}
    for tensor in spec.tensors:
        found = stored.get(names[tensor.name])
        if found is None or found.shape != tensor.shape:
            raise InputError(
                f"{gguf}: not made from {spec.name}: {names[tensor.name]} is "
                f"{list(found.shape) if found else 'missing'}, expected {list(tensor.shape)}"
            )
        if found.ggml_type not in _FAITHFUL_TYPES:
            raise UnsupportedError(
                f"{gguf}: {found.name} has ggml type {found.ggml_type}, too coarse to calibrate on",
                tuple(_FAITHFUL_TYPES.values()),
            )
    return tuple(
        Site(tensor.name, names[tensor.name], operation, rows, columns, is_head)
        for tensor in spec.tensors
        if tensor.is_matrix
        for rows, columns in [tensor.shape]
        for operation, is_head in _uses(spec, tensor.role)
    )


def _uses(spec: ModelSpec, role: Role) -> tuple[tuple[str, bool], ...]:
    """Operation, and whether it makes the logits."""
    if role is not Role.TOKEN_EMBEDDING:
        return ((MATRIX_PRODUCT, role is Role.OUTPUT),)
    lookup = (ROW_LOOKUP, False)
    return (lookup, (MATRIX_PRODUCT, True)) if spec.tied_embeddings else (lookup,)
