"""What the loss takes for the right answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

_SEED = 2026


class Targets(Protocol):
    """Which token the loss takes for right at each scored position."""

    def hits(
        self, window: int, start: int, before: torch.Tensor, probabilities: torch.Tensor
    ) -> torch.Tensor:
        """1 where a token of a piece of the vocabulary is the target, else 0: [positions, piece].

        probabilities: of the tokens from `start` on; before: the sum of those below: [positions].
        """


@dataclass(frozen=True, slots=True)
class DrawnTargets:
    """Drawn from the model itself, the same every time: this makes a Fisher matrix the true one."""

    def hits(
        self, window: int, start: int, before: torch.Tensor, probabilities: torch.Tensor
    ) -> torch.Tensor:
        drawn = np.random.default_rng((_SEED, window)).random((len(before), 1))
        upper = before[:, None] + probabilities.cumsum(dim=1)
        lower = torch.cat((before[:, None], upper[:, :-1]), dim=1)
        uniform = torch.from_numpy(drawn)
        return ((lower <= uniform) & (uniform < upper)).to(probabilities.dtype)


@dataclass(frozen=True, slots=True)
class TextTargets:
    """The tokens of the text."""

    windows: Sequence[Sequence[int]]

    def hits(
        self, window: int, start: int, before: torch.Tensor, probabilities: torch.Tensor
    ) -> torch.Tensor:
        following = torch.tensor(self.windows[window][-len(before) :])
        tokens = torch.arange(start, start + probabilities.shape[1])
        return (following[:, None] == tokens).to(probabilities.dtype)
