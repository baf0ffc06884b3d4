"""Every measured sensitivity mode of one model, from one text."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.quality.static_priors import Bench
from edgellm.calibration import Calibration
from edgellm.converters.calibration.calibrate import calibrate, read_windows
from edgellm.converters.calibration.gradients import GRADIENT_WINDOWS
from edgellm.converters.calibration.gradients.fisher import fisher_calibration
from edgellm.converters.calibration.gradients.weights import weight_gradients
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.converters.rounding.sample import sample_rows
from edgellm.formats import WeightFormat
from edgellm.sensitivity import Caches, Sensitivity
from edgellm.sensitivity.fisher import FisherSensitivity
from edgellm.sensitivity.llm_mq import LlmMqSensitivity
from edgellm.sensitivity.noise import NoiseSensitivity
from edgellm.spec import TensorSpec

_DEAR = 10.0  # nats: more than any plan worth comparing costs


@dataclass(frozen=True, slots=True)
class Held:
    """A judge to whom held tensors cost nothing in one format and too much in any other.

    Here every file is rounded with input statistics, so formats that need some are open to all
    modes, the static one too.
    """

    judge: Sensitivity
    formats: Mapping[str, str]  # by tensor
    has_imatrix: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return self.judge.name

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        held = self.formats.get(tensor.name)
        if held is None:
            return self.judge.cost(tensor, weight_format)
        return 0.0 if weight_format.name == held else _DEAR

    @property
    def caches(self) -> Caches:
        return self.judge.caches


@dataclass(frozen=True, slots=True)
class Judges:
    """The measured modes by name, and the calibrations of two of them."""

    judges: Mapping[str, Sensitivity]
    noise: Calibration
    fisher: Calibration


def measured_judges(bench: Bench, text: str, cache: Path) -> Judges:
    """All errors are measured through the rounding that the noise calibration guides."""
    checkpoint, spec, tables, gguf = (
        bench.checkpoint,
        bench.spec,
        bench.tables,
        bench.reference_file,
    )
    windows = read_windows(gguf, text, GRADIENT_WINDOWS)
    noise = calibrate(gguf, spec, text, cache=cache, threads=1)
    rows = {t.name: sample_rows(t, noise).at for t in spec.tensors if t.is_matrix}
    fisher = fisher_calibration(checkpoint, spec, noise, windows, cache=cache, threads=1)
    slopes = weight_gradients(checkpoint, spec, windows, rows, cache=cache, threads=1)
    by_noise = measure_errors(
        checkpoint, spec, tables, noise, threads=2, cache=cache, gradients=slopes
    )
    by_fisher = measure_errors(checkpoint, spec, tables, fisher, threads=2, cache=cache)
    judges: Mapping[str, Sensitivity] = {
        "llm-mq": LlmMqSensitivity(spec, tables, by_noise),
        "noise": NoiseSensitivity(spec, tables, noise, by_noise),
        "fisher": FisherSensitivity(spec, tables, fisher, by_fisher),
    }
    return Judges(judges, noise, fisher)
