"""What every step of one backward pass shares."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from edgellm.checkpoint import Checkpoint
from edgellm.converters.calibration.gradients.decoder import Rotation
from edgellm.converters.calibration.gradients.states import HiddenStates
from edgellm.converters.calibration.noise import SKIPPED
from edgellm.errors import UnsupportedError
from edgellm.progress import Progress, ProgressSink
from edgellm.spec import ModelSpec, Role, TensorSpec

SCORED = slice(SKIPPED, -1)  # the last position's next token is not in the window
_PIECE_WEIGHTS = 1 << 25  # 128 MiB in float32
_PIECE_ROWS = 1 << 14  # 32 MiB for the probabilities of a window in float64


def scored_positions(window_tokens: int) -> int:
    """Positions of one window whose loss counts."""
    return len(range(window_tokens)[SCORED])


def fitted_windows(windows: Sequence[Sequence[int]], spec: ModelSpec) -> Sequence[Sequence[int]]:
    """Cut to a sliding window, where a model has one, so that every layer attends in full.

    Raises UnsupportedError where that leaves less to score than to skip.
    """
    length = min(len(windows[0]), spec.sliding_window or len(windows[0]))
    if length < 2 * SKIPPED:
        raise UnsupportedError(
            f"{spec.name}: gradients over {length} tokens of context",
            (f"{2 * SKIPPED} and more",),
            "Use --sensitivity noise",
        )
    return [list(window[:length]) for window in windows]


def tensor_of(spec: ModelSpec, role: Role) -> TensorSpec:
    """The one tensor of a role outside the layers."""
    return next(tensor for tensor in spec.tensors if tensor.role is role)


def head_of(spec: ModelSpec) -> TensorSpec:
    """The matrix that makes the logits."""
    return tensor_of(spec, Role.TOKEN_EMBEDDING if spec.tied_embeddings else Role.OUTPUT)


class Meter:
    """Counts every weight of the layers and the head twice in each window: forth and back."""

    def __init__(self, spec: ModelSpec, windows: int, progress: ProgressSink) -> None:
        self._progress = progress
        layers = sum(tensor.elements for tensor in spec.tensors if tensor.layer is not None)
        self._total_bytes = 8 * windows * (layers + head_of(spec).elements)
        self._done_bytes = 0

    def add(self, weights: int, item: str) -> None:
        self._done_bytes += 4 * weights
        self._progress(Progress("gradients", self._done_bytes, self._total_bytes, item))


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a matrix."""

    start: int
    weights: torch.Tensor  # [rows, columns]


@dataclass(frozen=True, slots=True)
class Job:
    """One model and the windows that run through it.

    Slots of the states: before each layer, after the last, then the gradient of the loss by those
    that the backward pass has come to.
    """

    checkpoint: Checkpoint
    spec: ModelSpec
    tokens: torch.Tensor  # [windows, tokens]
    states: HiddenStates
    rotation: Rotation
    precision: torch.dtype
    meter: Meter

    @property
    def windows(self) -> range:
        return range(len(self.tokens))

    @property
    def gradient_slot(self) -> int:
        return self.spec.layers + 1

    def load(self, tensor: TensorSpec) -> torch.Tensor:
        rows = self.checkpoint.read_rows(tensor.name, 0, tensor.shape[0])
        return torch.from_numpy(rows).to(self.precision)

    def layer(self, index: int) -> Sequence[TensorSpec]:
        return [tensor for tensor in self.spec.tensors if tensor.layer == index]

    def head_pieces(self) -> Iterator[Piece]:
        """All rows of the head, in order."""
        head = head_of(self.spec)
        rows, columns = head.shape
        step = min(_PIECE_ROWS, max(1, _PIECE_WEIGHTS // columns))
        for start in range(0, rows, step):
            found = self.checkpoint.read_rows(head.name, start, min(start + step, rows))
            yield Piece(start, torch.from_numpy(found).to(self.precision))
