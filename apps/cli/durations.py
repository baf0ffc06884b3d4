"""How long measuring a model takes, before it begins; imports no engine."""

from edgellm.spec import ModelSpec

# Of one core, for one window and one disturbed matrix, each of which takes about so many windows.
TRIAL_S_PER_WEIGHT, TRIALS = 5e-9, 8


def rough_duration(spec: ModelSpec, threads: int) -> str:
    """What disturbing every matrix takes, by the law of benchmarks/quality/scaling.py."""
    weights = sum(tensor.elements for tensor in spec.tensors if tensor.is_matrix)
    matrices = sum(tensor.is_matrix for tensor in spec.tensors)
    seconds = TRIAL_S_PER_WEIGHT * weights * matrices * TRIALS / threads
    minutes = 1 + int(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{round(minutes / 60)} h"
