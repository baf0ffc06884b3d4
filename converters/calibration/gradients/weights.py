"""The gradient of the loss on a text by chosen rows of every matrix, as LLM-MQ scores formats by.

Only rows that the error table samples are kept, 1 MiB or so of each matrix, so nothing of the size
of the model is ever written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint
from edgellm.converters.calibration.gradients.backward import backpropagate
from edgellm.converters.calibration.gradients.cache import ArrayFile, F32Array, content_key
from edgellm.converters.calibration.gradients.job import (
    fitted_windows,
    head_of,
    scored_positions,
    tensor_of,
)
from edgellm.converters.calibration.gradients.targets import TextTargets
from edgellm.converters.calibration.gradients.threads import torch_threads
from edgellm.errors import RuntimeFailure
from edgellm.progress import ProgressSink, ignore_progress
from edgellm.spec import ModelSpec, Role

Rows = Mapping[str, NDArray[np.intp]]  # ascending, by tensor
_METHOD = ("weights", 1)


def weight_gradients(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    windows: Sequence[Sequence[int]],
    rows: Rows,
    *,
    cache: Path | None = None,
    threads: int | None = None,
    progress: ProgressSink = ignore_progress,
) -> Mapping[str, F32Array]:
    """d(mean loss per scored position) / dW in nats, by tensor: [chosen rows, columns].

    windows: the tokens of a text in pieces of one length; the loss is that of its next tokens.
    rows: which rows of each matrix. cache, threads: as for `fisher_calibration`.
    Raises UnsupportedError for a sliding window too short, RuntimeFailure, OutputError.
    """
    windows = fitted_windows(windows, spec)
    shapes = {t.name: (len(rows[t.name]), t.shape[1]) for t in spec.tensors if t.is_matrix}
    file = None
    if cache is not None:
        chosen = tuple((name, at.tolist()) for name, at in sorted(rows.items()))
        key = content_key(checkpoint, windows, (*_METHOD, chosen), progress)
        file = ArrayFile(cache / f"{key}.npz", shapes)
    found = file.read() if file else None
    if found is None:
        sums = {name: torch.zeros(shape) for name, shape in shapes.items()}
        with torch_threads(threads):
            seen = WeightObserver(spec, rows, sums)
            targets = TextTargets(windows)
            backpropagate(checkpoint, spec, windows, targets, seen, progress=progress)
        found = _means(sums, len(windows) * scored_positions(len(windows[0])))
        if file is not None:
            file.write(found)
    return found


class WeightObserver:
    """Adds up the gradients of the chosen rows."""

    def __init__(self, spec: ModelSpec, rows: Rows, sums: Mapping[str, torch.Tensor]) -> None:
        """sums: where to add, by tensor: [chosen rows, columns]."""
        self._rows = {name: torch.from_numpy(at) for name, at in rows.items()}
        self._sums = sums
        self._head = head_of(spec).name
        self._embedding = tensor_of(spec, Role.TOKEN_EMBEDDING).name

    def product(self, name: str, inputs: torch.Tensor, gradients: torch.Tensor) -> None:
        self._sums[name].add_(gradients[:, self._rows[name]].T @ inputs)

    def head(
        self, start: int, inputs: torch.Tensor, gradients: torch.Tensor, probabilities: torch.Tensor
    ) -> None:
        chosen = self._rows[self._head]
        first, stop = torch.searchsorted(
            chosen, torch.tensor([start, start + gradients.shape[1]])
        ).tolist()
        by_row = gradients[:, chosen[first:stop] - start].to(inputs.dtype)
        self._sums[self._head][first:stop] += by_row.T @ inputs

    def lookup(self, tokens: torch.Tensor, rows: torch.Tensor, gradients: torch.Tensor) -> None:
        chosen = self._rows[self._embedding]
        places = torch.searchsorted(chosen, tokens).clamp(max=len(chosen) - 1)
        found = chosen[places] == tokens
        self._sums[self._embedding].index_add_(0, places[found], gradients[found])


def _means(sums: Mapping[str, torch.Tensor], positions: int) -> Mapping[str, F32Array]:
    found = {name: (values / positions).numpy() for name, values in sums.items()}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise RuntimeFailure("torch", "the model's gradients are not finite")
    return found
