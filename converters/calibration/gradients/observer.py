"""Who learns of gradients as they come up."""

from typing import Protocol

import torch


class Observer(Protocol):
    """Told of each matrix in each window; gradients are those of the sum of the window's losses."""

    def product(self, name: str, inputs: torch.Tensor, gradients: torch.Tensor) -> None:
        """inputs: [tokens, columns]; gradients, by the outputs: [tokens, rows]."""

    def head(
        self, start: int, inputs: torch.Tensor, gradients: torch.Tensor, probabilities: torch.Tensor
    ) -> None:
        """The output head's rows from `start` on, at the scored positions.

        inputs: [positions, columns]; gradients, by the logits, and probabilities, in float64:
        [positions, rows].
        """

    def lookup(self, tokens: torch.Tensor, rows: torch.Tensor, gradients: torch.Tensor) -> None:
        """tokens: [tokens]; their embeddings and the gradients by those: [tokens, columns]."""
