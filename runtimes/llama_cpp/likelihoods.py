"""How likely the model found the token that was taken, and those in its place."""

from typing import TYPE_CHECKING

from edgellm.errors import UsageError
from edgellm.events import Likelihood, TokenLikelihoods
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Likelihoods:
    """Reads the logits of the last batch, before anything was done to them."""

    def __init__(self, context: Context, vocabulary: Vocabulary, top: int) -> None:
        """top: how many of the likeliest tokens to report. Raises UsageError below 0."""
        if top < 0:
            raise UsageError(f"logprobs is {top}; expected at least 0")
        self._context = context
        self._vocabulary = vocabulary
        self._top = min(top, vocabulary.n_tokens)

    def of(self, token: int, row: int) -> TokenLikelihoods:
        """row: which of the batch's logits the token was taken from; -1 is the last."""
        logprobs = log_softmax(self._context.row(self._vocabulary.n_tokens, row))
        return TokenLikelihoods(
            self._one(token, logprobs),
            tuple(self._one(best, logprobs) for best in likeliest(logprobs, self._top)),
        )

    def _one(self, token: int, logprobs: "NDArray[np.float64]") -> Likelihood:
        text = self._vocabulary.piece(token, special=True).decode("utf-8", "replace")
        return Likelihood(token, text, float(logprobs[token]))


def log_softmax(logits: "NDArray[np.float32]") -> "NDArray[np.float64]":
    """Natural logarithms of the probabilities, [vocabulary]."""
    import numpy as np

    shifted = logits.astype(np.float64) - float(logits.max())
    logprobs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return logprobs


def likeliest(logprobs: "NDArray[np.float64]", count: int) -> list[int]:
    """So many tokens, likeliest first; of equals the lower number first."""
    import numpy as np

    if count == 0:
        return []
    least = np.partition(logprobs, -count)[-count]
    found = np.flatnonzero(logprobs >= least)
    order = np.argsort(-logprobs[found], kind="stable")[:count]
    best: list[int] = found[order].tolist()
    return best
