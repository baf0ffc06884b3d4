"""Gradients of tiny checkpoints by transformers and autograd, whole and in float64."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from tests.support.checkpoints import write_checkpoint

F64Array = NDArray[np.float64]
SMALL: Mapping[str, object] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
}
TOKENS, SKIPPED = 64, 32


def small_checkpoint(folder: Path, family: str = "llama", **config: object) -> Path:
    return write_checkpoint(folder, family, **{**SMALL, **config})  # type: ignore[arg-type]


def random_windows(count: int, seed: int = 7) -> list[list[int]]:
    """Zipf-like, so that some tokens come several times in a window."""
    random = np.random.default_rng(seed)
    found: list[list[int]] = (299 * random.random((count, TOKENS)) ** 3).astype(int).tolist()
    return found


@dataclass
class Window:
    """What autograd finds in one window; gradients are of the sum of the losses."""

    weights: dict[str, F64Array]  # gradients by parameter
    powers: dict[str, float] = field(default_factory=dict)  # squared inputs of each linear
    probabilities: F64Array = field(default_factory=lambda: np.empty(0))  # at scored positions


class Autograd:
    """The same model in transformers."""

    def __init__(self, folder: Path) -> None:
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.model = load(folder, dtype=torch.float64, attn_implementation="eager")

    def window(self, tokens: Sequence[int]) -> Window:
        powers: dict[str, float] = {}

        def hook(name: str) -> Callable[..., None]:
            def add(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
                powers[name] = float(inputs[0].detach().square().sum())

            return add

        linears = [(n, m) for n, m in self.model.named_modules() if type(m) is torch.nn.Linear]
        handles = [m.register_forward_pre_hook(hook(f"{n}.weight")) for n, m in linears]
        self.model.zero_grad()
        scored = self.logits(tokens)[SKIPPED:-1]
        following = torch.tensor(tokens[SKIPPED + 1 :])
        torch.nn.functional.cross_entropy(scored, following, reduction="sum").backward()
        for handle in handles:
            handle.remove()
        found = {n: p.grad.numpy().copy() for n, p in self.model.named_parameters()}
        return Window(found, powers, scored.softmax(dim=-1).detach().numpy())

    def logits(self, tokens: Sequence[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(torch.tensor([list(tokens)])).logits[0]
        return logits
