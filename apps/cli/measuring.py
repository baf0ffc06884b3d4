"""Measured sensitivity for `plan` and `convert`: calibrate once, then judge formats by that."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.cli.models import options_digest
from edgellm.apps.cli.output import terminal_progress
from edgellm.apps.cli.planning import PlanningOptions, default_context
from edgellm.apps.cli.quality import read_text
from edgellm.apps.cli.statistics import read_statistics, save_statistics
from edgellm.artifact import MANIFEST, open_artifact
from edgellm.bundled import bundled_calibration_text
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.converters import converter_for
from edgellm.converters.calibration.calibrate import calibrate
from edgellm.converters.calibration.imatrix import with_imatrix
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.converters.threads import thread_count
from edgellm.formats import Tables
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.progress import ProgressSink
from edgellm.runtimes.llama_cpp.runtime import useful_threads
from edgellm.sensitivity import Sensitivity
from edgellm.sensitivity.noise import NoiseSensitivity
from edgellm.spec import ModelSpec
from edgellm.store import Store


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a text showed of a model, and the judgement of formats that follows."""

    calibration: Calibration
    sensitivity: Sensitivity
    reference: Path  # the whole model in f16
    text: str  # that it was calibrated on


def measure(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tables: Tables,
    store: Store,
    *,
    text_file: Path | None,
    threads: int | None,
    imatrix: Path | None = None,
    save_imatrix: Path | None = None,
) -> Measurement:
    """Calibrate the model and measure every format's error; both are kept in the store's cache.

    text_file: what to calibrate on; the text that ships with the package when None. imatrix: a
    file whose input moments replace those of the calibration. save_imatrix: where to keep those
    that were used. Raises InputError, RuntimeFailure, OutputError.
    """
    text = bundled_calibration_text() if text_file is None else read_text(text_file)
    with terminal_progress() as progress:
        gguf = reference_gguf(checkpoint, spec, tables, store, threads, progress)
        calibration = calibrate(
            gguf,
            spec,
            text,
            cache=store.cache / "calibration",
            threads=threads or useful_threads(gguf.stat().st_size),
            progress=progress,
        )
        if imatrix is not None:
            brought = read_statistics(imatrix, spec, "measured instead")
            calibration = with_imatrix(calibration, brought, spec)
        if save_imatrix is not None:
            save_statistics(save_imatrix, calibration, spec, text_file)
        errors = measure_errors(
            checkpoint,
            spec,
            tables,
            calibration,
            threads=thread_count(threads),
            cache=store.cache / "errors",
            progress=progress,
        )
    sensitivity = NoiseSensitivity(spec, tables, calibration, errors)
    return Measurement(calibration, sensitivity, gguf, text)


def reference_gguf(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tables: Tables,
    store: Store,
    threads: int | None,
    progress: ProgressSink,
) -> Path:
    """The whole model in f16, which calibration runs; converted once and kept in the cache."""
    folder = store.cache / "reference" / options_digest(checkpoint, PlanningOptions(format="f16"))
    if not (folder / MANIFEST).is_file():
        plan = uniform_plan(spec, "f16", Budget(default_context(spec)), tables)
        convert = converter_for("gguf")
        convert(checkpoint, spec, plan, folder, tables=tables, progress=progress, threads=threads)
    return open_artifact(folder).gguf
