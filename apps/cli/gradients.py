"""The sensitivity modes that compute gradients; torch is imported once it is known to be there."""

from pathlib import Path

from edgellm.apps.cli.measuring import (
    Measurement,
    Subject,
    caches_of,
    errors_of,
    reference_gguf,
    text_of,
)
from edgellm.calibration import Calibration
from edgellm.converters.calibration.calibrate import observe, read_windows
from edgellm.converters.calibration.gradients import GRADIENT_WINDOWS, require_torch
from edgellm.converters.rounding.sample import sample_rows
from edgellm.converters.threads import thread_count
from edgellm.sensitivity.fisher import FisherSensitivity
from edgellm.sensitivity.llm_mq import LlmMqSensitivity


def measure_fisher(subject: Subject) -> Measurement:
    """Judge by the Fisher information about every output. Raises UsageError without torch."""
    require_torch("fisher")
    from edgellm.converters.calibration.gradients.fisher import fisher_calibration

    checkpoint, spec, tables = subject.checkpoint, subject.spec, subject.tables
    gguf = reference_gguf(subject)
    text = text_of(subject, gguf)
    calibration = fisher_calibration(
        checkpoint,
        spec,
        _observed(subject, gguf, text),
        read_windows(gguf, text, GRADIENT_WINDOWS),
        cache=subject.cache / "gradients",
        threads=thread_count(subject.threads),
        progress=subject.progress,
    )
    caches, errors = caches_of(subject, gguf), errors_of(subject, calibration)
    judge = FisherSensitivity(spec, tables, calibration, errors, caches)
    return Measurement(calibration, judge, gguf, text)


def measure_slopes(subject: Subject) -> Measurement:
    """Judge by the gradient of every weight. Raises UsageError without torch."""
    require_torch("llm-mq")
    from edgellm.converters.calibration.gradients.weights import weight_gradients

    checkpoint, spec, tables = subject.checkpoint, subject.spec, subject.tables
    gguf = reference_gguf(subject)
    text = text_of(subject, gguf)
    calibration = _observed(subject, gguf, text)
    gradients = weight_gradients(
        checkpoint,
        spec,
        read_windows(gguf, text, GRADIENT_WINDOWS),
        {t.name: sample_rows(t, calibration).at for t in spec.tensors if t.is_matrix},
        cache=subject.cache / "gradients",
        threads=thread_count(subject.threads),
        progress=subject.progress,
    )
    caches, errors = caches_of(subject, gguf), errors_of(subject, calibration, gradients)
    judge = LlmMqSensitivity(spec, tables, errors, caches)
    return Measurement(calibration, judge, gguf, text)


def _observed(subject: Subject, gguf: Path, text: str) -> Calibration:
    """What every matrix sees; nothing is disturbed."""
    return subject.guided(
        observe(
            gguf,
            subject.spec,
            text,
            cache=subject.cache / "calibration",
            threads=subject.engine_threads(gguf),
            progress=subject.progress,
        )
    )
