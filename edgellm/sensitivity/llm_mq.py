"""Sensitivity to first order, as LLM-MQ has it (Li et al., ENLSP at NeurIPS 2023).

s(tensor, format) = |sum G (W - Q(W))| with G the gradient of the loss on a text. For a trained
model the terms of the sum cancel, so this mode is for comparison: the second order decides.
"""

from typing import ClassVar

from edgellm.formats import Tables, WeightFormat
from edgellm.sensitivity.caches import Caches, StaticCaches
from edgellm.sensitivity.error_table import ErrorTable, check_errors, error_in
from edgellm.spec import ModelSpec, TensorSpec


class LlmMqSensitivity:
    """Judges by the slopes of an error table."""

    name: ClassVar[str] = "llm-mq"
    has_imatrix: ClassVar[bool] = True

    def __init__(
        self,
        spec: ModelSpec,
        tables: Tables,
        errors: ErrorTable,
        caches: Caches | None = None,
    ) -> None:
        """errors: measured with gradients. caches: judges K and V, by static priors when None.

        Raises InputError where the errors lack a matrix of the model.
        """
        check_errors(errors, spec)
        self._tables = tables
        self._errors = errors
        self.caches = caches or StaticCaches(spec, tables)

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        return abs(error_in(self._errors, self._tables, tensor, weight_format).slope)
