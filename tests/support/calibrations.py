"""Calibrations and error tables of any model, made up."""

import numpy as np

from edgellm.calibration import Calibration
from edgellm.formats import Tables
from edgellm.sensitivity.error_table import ErrorTable, TensorError
from edgellm.spec import ModelSpec, Role


def made_up_calibration(spec: ModelSpec, seed: int = 0) -> Calibration:
    """Statistics for every matrix, each different, spread as widely as measured ones."""
    random = np.random.default_rng(seed)
    matrices = [tensor for tensor in spec.tensors if tensor.is_matrix]
    read = [t for t in matrices if spec.tied_embeddings or t.role is not Role.TOKEN_EMBEDDING]
    return Calibration(
        tokens=1000,
        input_moments={
            tensor.name: random.lognormal(sigma=1.5, size=tensor.shape[1]).astype(np.float32)
            for tensor in read
        },
        noise_gain={tensor.name: float(random.lognormal(-8, 1.5)) for tensor in matrices},
        head_gain=1e-4 if spec.tied_embeddings else None,
    )


def made_up_errors(spec: ModelSpec, tables: Tables, seed: int = 0) -> ErrorTable:
    """Errors near what Gaussian weights have, in every format that the rows can take."""
    random = np.random.default_rng(seed)
    return {
        tensor.name: {
            fmt.name: TensorError(scale * fmt.relative_rmse**2, fmt.relative_rmse**2)
            for fmt in tables.weight_formats.values()
            if fmt.plannable and fmt.divides(tensor.shape[1])
            for scale in [float(random.lognormal(0, 0.1))]
        }
        for tensor in spec.tensors
        if tensor.is_matrix
    }
