"""Measured sensitivity for `plan` and `convert`: run a text once, then judge formats by that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.cli.durations import rough_duration
from edgellm.apps.cli.output import note
from edgellm.apps.cli.planning import MODES, PlanningOptions, default_context
from edgellm.apps.cli.progress_sinks import terminal_progress
from edgellm.apps.cli.quality import read_text
from edgellm.apps.cli.statistics import read_statistics
from edgellm.apps.finding import options_digest
from edgellm.artifact import MANIFEST, open_artifact
from edgellm.bundled import bundled_calibration_text
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.converters import converter_for
from edgellm.converters.calibration.caches import LONGEST_TOKENS, measure_caches
from edgellm.converters.calibration.calibrate import calibrate
from edgellm.converters.calibration.drawn import draw_text
from edgellm.converters.calibration.imatrix import Imatrix, with_imatrix
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.converters.threads import thread_count
from edgellm.formats import Tables
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.progress import ProgressSink
from edgellm.runtimes.llama_cpp.threads import useful_threads
from edgellm.sensitivity import Caches, MeasuredCaches, Sensitivity, StaticCaches
from edgellm.sensitivity.error_table import ErrorTable
from edgellm.sensitivity.noise import NoiseSensitivity
from edgellm.spec import ModelSpec
from edgellm.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_DRAWN_BYTES = 8192  # of text that is worth calibrating on


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured, on which text, and where findings are kept."""

    checkpoint: Checkpoint
    spec: ModelSpec
    tables: Tables
    cache: Path
    own_text: str | None  # to run; None for what is chosen here
    context: int  # tokens planned for
    imatrix: Imatrix | None  # its input moments replace the measured ones
    threads: int | None
    progress: ProgressSink

    def engine_threads(self, gguf: Path) -> int:
        """How many llama.cpp runs the file with."""
        return self.threads or useful_threads(gguf.stat().st_size)

    def guided(self, calibration: Calibration) -> Calibration:
        """A calibration with the user's input moments in it, where there are some."""
        if self.imatrix is None:
            return calibration
        return with_imatrix(calibration, self.imatrix, self.spec)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a text showed of a model, and the judgement of formats that follows."""

    calibration: Calibration
    sensitivity: Sensitivity
    reference: Path  # the whole model in f16
    text: str  # that it was calibrated on


def measure(
    mode: str,
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tables: Tables,
    store: Store,
    *,
    context: int,
    text_file: Path | None = None,
    imatrix_file: Path | None = None,
    threads: int | None = None,
) -> Measurement:
    """Measure the model as a mode of MODES asks for; findings are kept in the store's cache.

    context: tokens planned for. text_file: what to calibrate on; when None, what the model writes
    itself, and for caches the text that ships with the package. imatrix_file: its input moments
    replace the measured ones.
    Raises InputError, RuntimeFailure, OutputError, UsageError for a mode that lacks its extra.
    """
    module, _, function = (MODES[mode] or "").partition(":")
    measure_mode: Callable[[Subject], Measurement] = getattr(import_module(module), function)
    text = None if text_file is None else read_text(text_file)
    imatrix = None
    if imatrix_file is not None:
        imatrix = read_statistics(imatrix_file, spec, "measured instead")
    with terminal_progress() as progress:
        return measure_mode(
            Subject(
                checkpoint, spec, tables, store.cache, text, context, imatrix, threads, progress
            )
        )


def measure_noise(subject: Subject) -> Measurement:
    """Observe the inputs of every matrix and disturb its outputs, in llama.cpp."""
    gguf = reference_gguf(subject)
    text = text_of(subject, gguf)
    calibration = subject.guided(
        calibrate(
            gguf,
            subject.spec,
            text,
            cache=subject.cache / "calibration",
            threads=subject.engine_threads(gguf),
            progress=subject.progress,
        )
    )
    caches, errors = caches_of(subject, gguf), errors_of(subject, calibration)
    judge = NoiseSensitivity(subject.spec, subject.tables, calibration, errors, caches)
    return Measurement(calibration, judge, gguf, text)


def text_of(subject: Subject, gguf: Path) -> str:
    """The user's text, or one that the model draws from itself.

    Drawn text serves better than the shipped one (benchmarks/quality/calibration_texts.py), which
    stands in for it where a model has little to say.
    """
    if subject.own_text is not None:
        return subject.own_text
    drawn = draw_text(
        gguf,
        cache=subject.cache / "drawn",
        threads=subject.engine_threads(gguf),
        progress=subject.progress,
    )
    return drawn if len(drawn.encode()) >= LEAST_DRAWN_BYTES else bundled_calibration_text()


def caches_of(subject: Subject, gguf: Path) -> Caches:
    """What coarser KV caches cost, in the planned context or as much of it as can be had."""
    found = measure_caches(
        gguf,
        subject.spec,
        subject.tables,
        # Drawn sequences are too short to say what a long context does.
        bundled_calibration_text() if subject.own_text is None else subject.own_text,
        context=subject.context,
        cache=subject.cache / "caches",
        threads=subject.engine_threads(gguf),
        progress=subject.progress,
    )
    if found.tokens < subject.context:
        reason = (
            "longer ones take too long to measure"
            if found.tokens == LONGEST_TOKENS
            else "the calibration text has no more; give a longer one with --calibration"
        )
        note(
            f"the KV cache's formats are judged by a context of {found.tokens} tokens instead of "
            f"{subject.context}: {reason}"
        )
    return MeasuredCaches(found.nats, StaticCaches(subject.spec, subject.tables))


def errors_of(
    subject: Subject,
    calibration: Calibration,
    gradients: "Mapping[str, NDArray[np.float32]] | None" = None,
) -> ErrorTable:
    """Every format's errors; with gradients of sampled rows, their slopes too."""
    return measure_errors(
        subject.checkpoint,
        subject.spec,
        subject.tables,
        calibration,
        threads=thread_count(subject.threads),
        cache=subject.cache / "errors",
        gradients=gradients,
        progress=subject.progress,
    )


def reference_gguf(subject: Subject) -> Path:
    """The whole model in f16, which calibration runs; converted once and kept in the cache."""
    checkpoint, spec, tables = subject.checkpoint, subject.spec, subject.tables
    digest = options_digest(checkpoint, PlanningOptions(format="f16"))
    folder = subject.cache / "reference" / digest
    if not (folder / MANIFEST).is_file():
        threads = thread_count(subject.threads)
        note(
            f"measuring {checkpoint.name}, once for all plans, takes roughly "
            f"{rough_duration(spec, threads)}; it can be interrupted and goes on. "
            "--sensitivity static plans at once, from a table"
        )
        plan = uniform_plan(spec, "f16", Budget(default_context(spec)), tables)
        converter_for("gguf")(
            checkpoint,
            spec,
            plan,
            folder,
            tables=tables,
            progress=subject.progress,
            threads=subject.threads,
        )
    return open_artifact(folder).gguf
