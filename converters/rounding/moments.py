"""From a calibration to what guides the rounding: how much an error in each column counts."""

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.errors import InputError
from edgellm.spec import ModelSpec, Role, TensorSpec

F32Array = NDArray[np.float32]

# A channel that the text never used still counts this much of the mean: another text may use it,
# and ggml would store zeros where a whole block counts for nothing.
_LEAST_SHARE = 1e-6


def rounding_moments(spec: ModelSpec, calibration: Calibration | None) -> Mapping[str, F32Array]:
    """What `Rounding.pack` takes for each matrix that the calibration tells something about.

    A linear's are its input moments. An embedding's are flat, since a lookup reads whole rows; when
    it also is the output head, both jobs are weighed by their gains.
    Raises InputError for a calibration that is not of this model.
    """
    if calibration is None:
        return {}
    matrices = [tensor for tensor in spec.tensors if tensor.is_matrix]
    _check_names(spec, calibration, {tensor.name for tensor in matrices})
    found = {tensor.name: _moments(tensor, calibration) for tensor in matrices}
    return {name: moments for name, moments in found.items() if moments is not None}


def calibration_digest(calibration: Calibration) -> str:
    """SHA-256 of every figure, in hexadecimal: equal digests, equal calibrations."""
    digest = hashlib.sha256(f"{calibration.tokens} {calibration.head_gain!r}".encode())
    for name, gain in sorted(calibration.noise_gain.items()):
        digest.update(f"\ngain {name} {gain!r}".encode())
    for name, moments in sorted(calibration.input_moments.items()):
        digest.update(f"\nmoments {name} {moments.size} ".encode())
        digest.update(moments.astype("<f4").tobytes())
    for name, weights in sorted(calibration.output_weights.items()):
        digest.update(f"\noutputs {name} {weights.size} ".encode())
        digest.update(weights.astype("<f4").tobytes())
    return digest.hexdigest()


def _check_names(spec: ModelSpec, calibration: Calibration, names: set[str]) -> None:
    if unknown := set(calibration.input_moments) - names:
        raise InputError(
            f"the calibration is for another model than {spec.name}: it has {min(unknown)}"
        )


def _moments(tensor: TensorSpec, calibration: Calibration) -> F32Array | None:
    measured = calibration.input_moments.get(tensor.name)
    if measured is not None:
        _check_moments(tensor, measured)
    if tensor.role is not Role.TOKEN_EMBEDDING:
        return None if measured is None else _floored(measured)
    rows, columns = tensor.shape
    gain = calibration.noise_gain.get(tensor.name)
    if measured is None or gain is None or calibration.head_gain is None:
        return np.ones(columns, dtype=np.float32)
    both = gain / rows + calibration.head_gain * measured.astype(np.float64)
    return _floored((both / both.mean()).astype(np.float32))


def _floored(moments: F32Array) -> F32Array:
    floored: F32Array = np.maximum(moments, np.float32(_LEAST_SHARE) * moments.mean())
    return floored


def _check_moments(tensor: TensorSpec, moments: F32Array) -> None:
    where = f"the calibration's input moments of {tensor.name}"
    if moments.shape != tensor.shape[-1:]:
        raise InputError(f"{where}: {moments.size} channels; expected {tensor.shape[-1]}")
    if not (np.isfinite(moments).all() and moments.min() >= 0 and moments.max() > 0):
        raise InputError(f"{where}: expected finite numbers of at least 0, not all 0")
