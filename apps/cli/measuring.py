"""Measured sensitivity for `plan` and `convert`: calibrate once, then judge formats by that."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.cli.models import options_digest
from edgellm.apps.cli.output import note, terminal_progress
from edgellm.apps.cli.planning import PlanningOptions, default_context
from edgellm.apps.cli.quality import read_text
from edgellm.artifact import MANIFEST, open_artifact
from edgellm.bundled import bundled_calibration_text
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.converters import converter_for
from edgellm.converters.calibration.caches import LONGEST_TOKENS, measure_caches
from edgellm.converters.calibration.calibrate import calibrate
from edgellm.converters.rounding.error_table import measure_errors
from edgellm.converters.threads import thread_count
from edgellm.formats import Tables
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.progress import ProgressSink
from edgellm.runtimes.llama_cpp.runtime import useful_threads
from edgellm.sensitivity.caches import MeasuredCaches, StaticCaches
from edgellm.sensitivity.noise import NoiseSensitivity
from edgellm.spec import ModelSpec
from edgellm.store import Store


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a text showed of a model, and the judgement of formats that follows."""

    calibration: Calibration
    sensitivity: NoiseSensitivity


def measure(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tables: Tables,
    store: Store,
    *,
    text_file: Path | None,
    context: int,
    threads: int | None,
) -> Measurement:
    """Calibrate the model, measure every format's error and what coarser KV caches cost.

    All is kept in the store's cache. text_file: what to calibrate on; the text that ships with the
    package when None. context: tokens planned for; caches are measured in so many, or in as many as
    the text has and LONGEST_TOKENS allows.
    """
    text = bundled_calibration_text() if text_file is None else read_text(text_file)
    with terminal_progress() as progress:
        gguf = reference_gguf(checkpoint, spec, tables, store, threads, progress)
        workers = threads or useful_threads(gguf.stat().st_size)
        calibration = calibrate(
            gguf,
            spec,
            text,
            cache=store.cache / "calibration",
            threads=workers,
            progress=progress,
        )
        caches = measure_caches(
            gguf,
            spec,
            tables,
            text,
            context=context,
            cache=store.cache / "caches",
            threads=workers,
            progress=progress,
        )
        errors = measure_errors(
            checkpoint,
            spec,
            tables,
            calibration,
            threads=thread_count(threads),
            cache=store.cache / "errors",
            progress=progress,
        )
    if caches.tokens < context:
        note(
            f"the KV cache's formats are judged by a context of {caches.tokens} tokens instead of "
            f"{context}: {shortened(caches.tokens)}"
        )
    judge = MeasuredCaches(caches.nats, StaticCaches(spec, tables))
    return Measurement(calibration, NoiseSensitivity(spec, tables, calibration, errors, judge))


def shortened(tokens: int) -> str:
    """Why caches were measured in a shorter context than the planned one."""
    if tokens == LONGEST_TOKENS:
        return "longer ones take too long to measure"
    return "the calibration text has no more; give a longer one with --calibration"


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
