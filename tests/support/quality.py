"""A comparison of two models as a textbook writes it: everything in float64, all at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr


def textbook_quality(
    reference: NDArray[np.float32], model: NDArray[np.float32], following: list[int]
) -> dict[str, Any]:
    """The documented figures; reference, model: logits, [positions, vocabulary]."""
    p = log_softmax(reference.astype(np.float64), axis=1)
    q = log_softmax(model.astype(np.float64), axis=1)
    divergence = rel_entr(np.exp(p), np.exp(q)).sum(axis=1)
    rows, count = np.arange(len(p)), len(p)
    ratio = p[rows, following] - q[rows, following]
    return {
        "perplexity": np.exp(-q[rows, following].mean()),
        "reference_perplexity": np.exp(-p[rows, following].mean()),
        "log_perplexity_ratio": mean_and_error(ratio),
        "kl_divergence": {
            **mean_and_error(divergence),
            "median": np.quantile(divergence, 0.5),
            "p99": np.quantile(divergence, 0.99),
            "p99_9": np.quantile(divergence, 0.999),
        },
        "same_top_token": (p.argmax(axis=1) == q.argmax(axis=1)).mean(),
        "tokens": count,
    }


def mean_and_error(values: NDArray[np.float64]) -> dict[str, float]:
    variance = ((values - values.mean()) ** 2).sum() / (len(values) - 1)
    return {"mean": values.mean(), "standard_error": np.sqrt(variance / len(values))}
