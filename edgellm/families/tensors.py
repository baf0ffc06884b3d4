"""The tensors a family expects, found in a checkpoint with exactly the right shapes."""

from collections.abc import Iterator
from dataclasses import dataclass

from edgellm.checkpoint import Checkpoint
from edgellm.errors import FormatError, UnsupportedError
from edgellm.families.dimensions import Dimensions
from edgellm.families.family import Dim, Family
from edgellm.json_file import show
from edgellm.spec import Role, TensorSpec

EMBEDDING = "model.embed_tokens.weight"
OUTPUT_NORM = "model.norm.weight"
OUTPUT = "lm_head.weight"
_TABLE = (Dim.VOCAB, Dim.HIDDEN)

# Buffers that old checkpoints carry; they are computed from rope_theta.
_IGNORED_SUFFIX = ".rotary_emb.inv_freq"
_COMPARED_ELEMENTS = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """A tensor that has to be there."""

    name: str
    role: Role
    layer: int | None
    shape: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """Which tensors embed tokens and make logits; output is None when one tensor does both."""

    embedding: str
    output: str | None
    notices: tuple[str, ...] = ()


def find_head(checkpoint: Checkpoint, tied: bool) -> Head:
    """Decide as transformers does when it loads the checkpoint.

    With tied embeddings one of the two tensors is enough; where both are stored they are tied only
    if they are equal.
    """
    if not tied or not {EMBEDDING, OUTPUT} & checkpoint.stored.keys():
        return Head(EMBEDDING, None if tied else OUTPUT)
    if OUTPUT not in checkpoint.stored:
        return Head(EMBEDDING, None)
    if EMBEDDING not in checkpoint.stored:
        return Head(OUTPUT, None)
    if _equal(checkpoint, EMBEDDING, OUTPUT):
        return Head(EMBEDDING, None, (f"{OUTPUT}: ignored, equals {EMBEDDING}",))
    note = f"{OUTPUT}: used, differs from {EMBEDDING} although tie_word_embeddings is true"
    return Head(EMBEDDING, OUTPUT, (note,))


def match_tensors(
    checkpoint: Checkpoint, family: Family, dims: Dimensions, head: Head
) -> tuple[TensorSpec, ...]:
    """Every tensor in the order embedding, layers, output norm, output.

    Raises FormatError for a tensor that is missing or has another shape, UnsupportedError for one
    that the family does not have.
    """
    expected = list(_expected(checkpoint, family, dims, head))
    _refuse_missing(checkpoint, expected)
    _refuse_unexpected(checkpoint, family, {tensor.name for tensor in expected} | {OUTPUT})
    return tuple(_matched(checkpoint, tensor, dims) for tensor in expected)


def ignored_buffers(checkpoint: Checkpoint) -> tuple[str, ...]:
    """A notice for stored tensors that no family needs."""
    count = sum(name.endswith(_IGNORED_SUFFIX) for name in checkpoint.stored)
    return (f"{count} x {_IGNORED_SUFFIX[1:]}: ignored, follows from rope_theta",) if count else ()


def _expected(
    checkpoint: Checkpoint, family: Family, dims: Dimensions, head: Head
) -> Iterator[Expected]:
    present = [
        tensor
        for tensor in family.layer_tensors
        if tensor.switch is None or checkpoint.config.boolean(tensor.switch, False)
    ]
    yield Expected(head.embedding, Role.TOKEN_EMBEDDING, None, _TABLE)
    for layer in range(dims.layers):
        for tensor in present:
            name = f"model.layers.{layer}.{tensor.suffix}"
            yield Expected(name, tensor.role, layer, tensor.shape)
    yield Expected(OUTPUT_NORM, Role.OUTPUT_NORM, None, (Dim.HIDDEN,))
    if head.output is not None:
        yield Expected(head.output, Role.OUTPUT, None, _TABLE)


def _refuse_missing(checkpoint: Checkpoint, expected: list[Expected]) -> None:
    missing = [tensor.name for tensor in expected if tensor.name not in checkpoint.stored]
    if not missing:
        return
    if EMBEDDING.removeprefix("model.") in checkpoint.stored:
        raise UnsupportedError(
            f"{checkpoint.folder}: saved from the base model: names lack the prefix 'model.'",
            ("checkpoints of the whole ...ForCausalLM",),
        )
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    raise FormatError(
        checkpoint.folder, f"tensor {missing[0]}{more} missing; download the checkpoint again"
    )


def _refuse_unexpected(checkpoint: Checkpoint, family: Family, known: set[str]) -> None:
    for name in checkpoint.stored:
        if name in known or name.endswith(_IGNORED_SUFFIX):
            continue
        switches = [t.switch for t in family.layer_tensors if t.switch and name.endswith(t.suffix)]
        hint = f"; config.json does not set {switches[0]}" if switches else ""
        raise UnsupportedError(
            f"{checkpoint.stored[name].path}: tensor {show(name)} is not part of this "
            f"{family.title} model{hint}"
        )


def _matched(checkpoint: Checkpoint, expected: Expected, dims: Dimensions) -> TensorSpec:
    stored = checkpoint.stored[expected.name]
    shape = tuple(map(dims.length, expected.shape))
    if stored.shape != shape:
        meaning = ", ".join(dim.value for dim in expected.shape)
        raise FormatError(
            stored.path,
            f"tensor {expected.name} is {show(list(stored.shape))}; config.json makes it "
            f"{list(shape)} ({meaning})",
        )
    return TensorSpec(expected.name, expected.role, expected.layer, shape, stored.dtype)


def _equal(checkpoint: Checkpoint, name: str, other: str) -> bool:
    """Whether two matrices hold the same values; stops at the first block that differs."""
    shape = checkpoint.stored[name].shape
    if shape != checkpoint.stored[other].shape or len(shape) != 2:
        return False
    step = max(1, _COMPARED_ELEMENTS // max(1, shape[1]))
    blocks = ((start, min(start + step, shape[0])) for start in range(0, shape[0], step))
    return all(
        bool((checkpoint.read_rows(name, *block) == checkpoint.read_rows(other, *block)).all())
        for block in blocks
    )
