"""Hidden states between the layers, in memory up to a cap and in an unnamed file above it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir

import numpy as np
import torch

from edgellm.files import output_errors, require_space

MEMORY_CAP_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """Arrays of one shape, by layer and window."""

    _file: SpooledTemporaryFile[bytes]
    _windows: int
    _shape: tuple[int, int]  # [tokens, hidden_size]
    _precision: torch.dtype

    def write(self, layer: int, window: int, state: torch.Tensor) -> None:
        """Raises OutputError when the disk is full."""
        with output_errors(Path(gettempdir())):
            self._seek(layer, window)
            self._file.write(state.detach().numpy().tobytes())

    def read(self, layer: int, window: int) -> torch.Tensor:
        self._seek(layer, window)
        state = torch.empty(self._shape, dtype=self._precision)
        filled = self._file.readinto(state.numpy().view(np.uint8).reshape(-1).data)
        assert filled == state.nbytes, (layer, window)
        return state

    def _seek(self, layer: int, window: int) -> None:
        tokens, width = self._shape
        item_bytes = tokens * width * self._precision.itemsize
        self._file.seek((layer * self._windows + window) * item_bytes)


@contextmanager
def hidden_states(
    layers: int, windows: int, shape: tuple[int, int], precision: torch.dtype
) -> Iterator[HiddenStates]:
    """Room for the states before each of `layers`; the file vanishes with the process.

    Raises OutputError where the temporary folder has no room for what exceeds the cap.
    """
    needed_bytes = layers * windows * shape[0] * shape[1] * precision.itemsize
    if needed_bytes > MEMORY_CAP_BYTES:
        require_space(Path(gettempdir()), needed_bytes)
    with SpooledTemporaryFile(max_size=MEMORY_CAP_BYTES) as file:
        if needed_bytes > MEMORY_CAP_BYTES:
            file.rollover()
        yield HiddenStates(file, windows, shape, precision)
