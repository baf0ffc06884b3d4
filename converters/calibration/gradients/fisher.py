"""What an error in each output costs, by the Fisher information of the model's own answers.

A change dW of one matrix costs 1/2 E[(sum_t g_t . dW x_t)^2] nats in a window, with g_t the
gradient of the window's summed loss by the outputs at token t, targets drawn from the model. Over
errors that are independent between weights and alike within row k, that is 1/2 gamma_k E|dW_k x|^2
a scored position, gamma_k = E|sum_t g_tk x_t|^2 / (E|x|^2 * scored positions). The sum over t stays
inside the square because the same wrong weight meets every token; errors independent from token to
token would underrate V by a third.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.converters.calibration.gradients.backward import backpropagate
from edgellm.converters.calibration.gradients.cache import ArrayFile, F32Array, content_key
from edgellm.converters.calibration.gradients.job import (
    fitted_windows,
    head_of,
    scored_positions,
    tensor_of,
)
from edgellm.converters.calibration.gradients.targets import DrawnTargets
from edgellm.converters.calibration.gradients.threads import torch_threads
from edgellm.errors import RuntimeFailure
from edgellm.progress import ProgressSink, ignore_progress
from edgellm.spec import ModelSpec, Role

F64Array = NDArray[np.float64]
_LOOKUP = "lookup"  # the name under which its one number is kept
_METHOD = ("fisher", 1)
_ROWS = 1 << 12  # of the embedding measured at a time


def fisher_calibration(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    observed: Calibration,
    windows: Sequence[Sequence[int]],
    *,
    cache: Path | None = None,
    threads: int | None = None,
    progress: ProgressSink = ignore_progress,
) -> Calibration:
    """The input moments of `observed` with gains and output weights from gradients.

    windows: the tokens of a text in pieces of one length. cache: folder where findings are kept by
    their content. threads: None for torch's own choice. Equal arguments give equal results but for
    the order in which threads add.
    Raises UnsupportedError for a sliding window too short, RuntimeFailure, OutputError.
    """
    windows = fitted_windows(windows, spec)
    file = None
    if cache is not None:
        key = content_key(checkpoint, windows, _METHOD, progress)
        file = ArrayFile(cache / f"{key}.npz", _shapes(spec))
    found = file.read() if file else None
    if found is None:
        with torch_threads(threads):
            found = _measure(checkpoint, spec, windows, progress)
        if file is not None:
            file.write(found)
    return _with_gammas(observed, spec, found)


@dataclass(slots=True)
class _Sums:
    """Of one matrix, over all windows."""

    squares: F64Array  # |sum_t g_tk x_t|^2 by output k: [rows]
    power: float = 0.0  # |x|^2 over all tokens


@dataclass(slots=True)
class FisherObserver:
    """Adds up squared gradients: of the linears as above, of the head p (1 - p), which is exact."""

    products: dict[str, _Sums] = field(default_factory=dict)
    heads: dict[int, F64Array] = field(default_factory=dict)  # by first row: [rows]
    lookups: float = 0.0  # squared gradient of each token's row times the row's squared length

    def product(self, name: str, inputs: torch.Tensor, gradients: torch.Tensor) -> None:
        # |sum_t g_t x_t|^2 = sum_ts g_t (x_t . x_s) g_s, without the gradient of every weight.
        gram = inputs @ inputs.T
        squares = (gradients * (gram @ gradients)).sum(dim=0).double().numpy()
        sums = self.products.setdefault(name, _Sums(np.zeros_like(squares)))
        sums.squares += squares
        sums.power += float(gram.diagonal().double().sum())

    def head(
        self, start: int, inputs: torch.Tensor, gradients: torch.Tensor, probabilities: torch.Tensor
    ) -> None:
        found = (probabilities * (1 - probabilities)).sum(dim=0).numpy()
        self.heads[start] = self.heads.get(start, 0.0) + found

    def lookup(self, tokens: torch.Tensor, rows: torch.Tensor, gradients: torch.Tensor) -> None:
        used, places = tokens.unique(return_inverse=True)
        by_token = gradients.new_zeros((len(used), rows.shape[1])).index_add_(0, places, gradients)
        lengths = gradients.new_zeros(len(used)).index_copy_(0, places, rows.square().sum(dim=1))
        self.lookups += float((by_token.square().sum(dim=1) * lengths).double().sum())


def _measure(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    windows: Sequence[Sequence[int]],
    progress: ProgressSink,
) -> Mapping[str, F32Array]:
    """gamma by row of every linear and of the head; the gain of a lookup.

    The lookup's error is taken to be in proportion to the row, and its gain is for each unit of the
    mean over all rows: 1/2 E[sum_v |g_v|^2 |row_v|^2] / (columns * E|row|^2 * scored positions).
    """
    seen = FisherObserver()
    backpropagate(checkpoint, spec, windows, DrawnTargets(), seen, progress=progress)
    length, scored = len(windows[0]), scored_positions(len(windows[0]))
    positions = len(windows) * scored
    found: dict[str, F64Array] = {
        name: sums.squares * length / (scored * (sums.power or 1.0))
        for name, sums in seen.products.items()
    }
    found[head_of(spec).name] = (
        np.concatenate([seen.heads[start] for start in sorted(seen.heads)]) / positions
    )
    embedding = tensor_of(spec, Role.TOKEN_EMBEDDING)
    columns, power = embedding.shape[1], _mean_square_length(checkpoint, spec)
    found[_LOOKUP] = np.array([seen.lookups / (2 * columns * positions * (power or 1.0))])
    if not all(np.isfinite(values).all() for values in found.values()):
        raise RuntimeFailure("torch", "the model's gradients are not finite")
    return {name: np.maximum(values, 0).astype(np.float32) for name, values in found.items()}


def _mean_square_length(checkpoint: Checkpoint, spec: ModelSpec) -> float:
    """Of the embedding's rows."""
    embedding, total = tensor_of(spec, Role.TOKEN_EMBEDDING), 0.0
    rows = embedding.shape[0]
    for start in range(0, rows, _ROWS):
        piece = checkpoint.read_rows(embedding.name, start, min(start + _ROWS, rows))
        total += float(np.einsum("rc,rc->", piece, piece, dtype=np.float64))
    return total / rows


def _shapes(spec: ModelSpec) -> Mapping[str, tuple[int, ...]]:
    matrices = [tensor for tensor in spec.tensors if tensor.is_matrix]
    measured = [t for t in matrices if spec.tied_embeddings or t.role is not Role.TOKEN_EMBEDDING]
    return {tensor.name: tensor.shape[:1] for tensor in measured} | {_LOOKUP: (1,)}


def _with_gammas(
    observed: Calibration, spec: ModelSpec, found: Mapping[str, F32Array]
) -> Calibration:
    gammas = {name: values.astype(np.float64) for name, values in found.items() if name != _LOOKUP}
    gains = {name: float(values.mean()) / 2 for name, values in gammas.items()}
    head_gain = gains[head_of(spec).name] if spec.tied_embeddings else None
    gains[tensor_of(spec, Role.TOKEN_EMBEDDING).name] = float(found[_LOOKUP][0])
    weights = {
        name: (values / values.mean()).astype(np.float32)
        for name, values in gammas.items()
        if values.any()
    }
    return replace(observed, noise_gain=gains, head_gain=head_gain, output_weights=weights)
