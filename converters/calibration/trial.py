"""Converted files of one model beside their reference: what each really lost on a text."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from edgellm.converters.calibration.calibrate import WINDOW_TOKENS, text_windows
from edgellm.converters.calibration.engine import Engine
from edgellm.converters.calibration.noise import SKIPPED
from edgellm.evaluation import Comparison, Quality
from edgellm.progress import Progress, ProgressSink, ignore_progress

TRIAL_TOKENS = 4096


def try_files(
    reference: Path,
    candidates: Sequence[Path],
    text: str,
    *,
    tokens: int = TRIAL_TOKENS,
    threads: int,
    progress: ProgressSink = ignore_progress,
) -> list[Quality]:
    """Compare each candidate with the reference on the same windows of a text.

    All files are mapped at once; beside them each takes the logits of one window. progress: bytes
    of weights run through. Raises InputError for a text that is too short, RuntimeFailure.
    """
    paths = (reference, *candidates)
    window_bytes = sum(path.stat().st_size for path in paths)
    with ExitStack() as opened:
        engines = [opened.enter_context(Engine(path, WINDOW_TOKENS, threads)) for path in paths]
        windows = text_windows(engines[0], text, tokens)
        comparisons = [Comparison() for _ in candidates]
        total_bytes = len(windows) * window_bytes
        for done, window in enumerate(windows):
            progress(Progress("try", done * window_bytes, total_bytes))
            expected, *found = (engine.run(window, None)[SKIPPED:-1] for engine in engines)
            for comparison, logits in zip(comparisons, found, strict=True):
                comparison.add(expected, logits, window[SKIPPED + 1 :])
        progress(Progress("try", total_bytes, total_bytes))
    return [comparison.result() for comparison in comparisons]
