"""Speculation without a sense of time, so that tests see it at work on any machine."""

import random
from collections.abc import Mapping

from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.speculation.batch_costs import BatchCosts


class AnyLength(BatchCosts):
    """Each time another size of batch is by far the cheapest, whatever was measured."""

    def __init__(self, trial: Mapping[int, float]) -> None:
        super().__init__(trial)
        self._sizes = sorted(trial)
        self._draw = random.Random(0)

    def seconds(self) -> Mapping[int, float]:
        cheap = self._draw.choice(self._sizes)
        return {size: 1.0 if size == 1 else 1e6 for size in self._sizes} | {cheap: 1e-3}


def guess_at_any_length(model: LlamaCppModel) -> LlamaCppModel:
    """Draft whenever there is anything to guess, in batches of every usable size."""
    speculation = model._speculation
    assert speculation is not None
    speculation._costs = AnyLength(speculation._costs._trial)
    return model
