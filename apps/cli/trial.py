"""A measured plan beside a static one of equal bytes: both are converted, the better is taken."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgellm.apps.cli.measuring import Measurement
from edgellm.apps.cli.progress_sinks import terminal_progress
from edgellm.artifact import MANIFEST, open_artifact
from edgellm.checkpoint import Checkpoint
from edgellm.converters import converter_for
from edgellm.converters.calibration.trial import try_files
from edgellm.converters.rounding.moments import calibration_digest
from edgellm.converters.threads import thread_count
from edgellm.errors import BudgetError, InputError
from edgellm.files import write_json
from edgellm.formats import Tables
from edgellm.json_file import read_json
from edgellm.jsonfields import JsonObject
from edgellm.plan import Budget, Plan, Trial
from edgellm.planner import make_plan, settle_plan
from edgellm.progress import ProgressSink
from edgellm.sensitivity import StaticSensitivity
from edgellm.spec import ModelSpec
from edgellm.speed import DecodeSpeed
from edgellm.store import Store

_MAX_RESULT_BYTES = 1 << 16
_SAME_PACE = 1 - 1e-6  # a rival may be slower by what rounding to nanoseconds makes


@dataclass(frozen=True, slots=True)
class Contest:
    """What both plans are made of and measured with."""

    checkpoint: Checkpoint
    spec: ModelSpec
    tables: Tables
    measured: Measurement  # what made the plan, and what both are rounded by
    store: Store  # keeps results, and files while they are tried
    threads: int | None
    speed: DecodeSpeed | None = None

    def better(self, plan: Plan, budget: Budget) -> Plan:
        """The plan, or its static rival where that measured better; the record is in it.

        Raises what converting and running a model raises.
        """
        rival = self.rival(plan, budget)
        if rival is None or rival.tensors == plan.tensors:
            return plan
        with terminal_progress() as progress:
            trial = self._trial((plan, rival), progress)
        return replace(rival if trial.static_won else plan, trial=trial)

    def rival(self, plan: Plan, budget: Budget) -> Plan | None:
        """The static plan of no more bytes and the same caches; None when its pace allows none."""
        hurried = budget.min_tokens_per_s is not None or budget.preference != "quality"
        pace = (plan.predicted_tokens_per_s or 0.0) * _SAME_PACE if hurried else None
        same = replace(
            budget,
            memory_bytes=None,
            weights_bytes=plan.memory.weights_bytes,
            min_tokens_per_s=pace,
            preference="quality",
        )
        judge, pair = self.measured.sensitivity, (plan.kv.key_format, plan.kv.value_format)
        static = StaticSensitivity(
            self.spec, self.tables, has_imatrix=True, measured_caches=judge.caches
        )
        same_caches = replace(self.tables, kv_pairs=(pair,))
        try:
            found = make_plan(self.spec, same, same_caches, sensitivity=static, speed=self.speed)
        except BudgetError:
            return None
        return settle_plan(
            self.spec,
            replace(plan, tensors=found.tensors),
            self.tables,
            "the static plan",
            sensitivity=judge,
            speed=self.speed,
        )

    def _trial(self, plans: Sequence[Plan], progress: ProgressSink) -> Trial:
        """Measured now, or when the same plans were tried before."""
        folder = self.store.cache / "trials" / self._digest(plans)
        result = folder.with_suffix(".json")
        try:
            return Trial.read(JsonObject.at(str(result), "", read_json(result, _MAX_RESULT_BYTES)))
        except InputError:
            pass  # not measured yet
        files = [
            self._converted(plan, folder / str(number), progress)
            for number, plan in enumerate(plans)
        ]
        threads = thread_count(self.threads)
        measured, static = try_files(
            self.measured.reference, files, self.measured.text, threads=threads, progress=progress
        )
        trial = Trial(measured.kl_divergence.mean, static.kl_divergence.mean, measured.tokens)
        write_json(result, trial.to_json())
        shutil.rmtree(folder, ignore_errors=True)
        return trial

    def _converted(self, plan: Plan, folder: Path, progress: ProgressSink) -> Path:
        """Kept until the trial is over, so that an interrupted one goes on."""
        if (folder / MANIFEST).is_file():
            return open_artifact(folder).gguf
        artifact = converter_for("gguf")(
            self.checkpoint,
            self.spec,
            plan,
            folder,
            tables=self.tables,
            progress=progress,
            threads=self.threads,
            calibration=self.measured.calibration,
        )
        return artifact.gguf

    def _digest(self, plans: Sequence[Plan]) -> str:
        choices = [[(row.name, row.format) for row in plan.tensors] for plan in plans]
        measured = self.measured
        parts = (calibration_digest(measured.calibration), measured.reference.parent.name)
        return hashlib.sha256(repr((parts, measured.text, choices)).encode()).hexdigest()[:32]
