"""To second order: what an error at an output costs, times the error that a format makes there."""

from typing import ClassVar

from edgellm.calibration import Calibration
from edgellm.errors import InputError
from edgellm.formats import Tables, WeightFormat
from edgellm.sensitivity.caches import Caches, StaticCaches
from edgellm.sensitivity.error_table import ErrorTable, check_errors, error_in
from edgellm.spec import ModelSpec, Role, TensorSpec


class GainSensitivity:
    """Judges by a calibration's gains and measured rounding errors; its modes name themselves."""

    name: ClassVar[str]
    has_imatrix: ClassVar[bool] = True

    def __init__(
        self,
        spec: ModelSpec,
        tables: Tables,
        calibration: Calibration,
        errors: ErrorTable,
        caches: Caches | None = None,
    ) -> None:
        """caches: judges K and V, by the static priors when None.

        Raises InputError where the calibration or the errors lack a matrix of the model.
        """
        self._tables = tables
        self._calibration = calibration
        self._errors = errors
        self.caches = caches or StaticCaches(spec, tables)
        self._tied = spec.tied_embeddings
        for tensor in spec.tensors:
            if tensor.is_matrix:
                self._check(tensor)
        check_errors(errors, spec)

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        error = error_in(self._errors, self._tables, tensor, weight_format)
        gain = self._calibration.noise_gain[tensor.name]
        if tensor.role is not Role.TOKEN_EMBEDDING:
            return gain * error.output
        return gain * error.row + (self._calibration.head_gain or 0.0) * error.output

    def _check(self, tensor: TensorSpec) -> None:
        calibration, is_lookup = self._calibration, tensor.role is Role.TOKEN_EMBEDDING
        needs_inputs = self._tied if is_lookup else True
        if tensor.name not in calibration.noise_gain:
            raise InputError(f"the calibration has no noise gain of {tensor.name}; calibrate again")
        if needs_inputs and tensor.name not in calibration.input_moments:
            raise InputError(
                f"the calibration has no input moments of {tensor.name}; calibrate again"
            )
        if is_lookup and self._tied and calibration.head_gain is None:
            raise InputError(
                f"the calibration has no gain of {tensor.name} as output head; calibrate again"
            )
