"""Run a text through a GGUF file and learn what each matrix sees and how much its errors cost.

Memory beside the mapped weights: about 4.5 KiB for each entry of the vocabulary (logits and
probabilities of one window), the widest matrix once in float32, a few copies of one window's
widest activation, one sum per channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgellm.calibration import Calibration
from edgellm.converters.calibration.engine import Engine
from edgellm.converters.calibration.keys import content_key
from edgellm.converters.calibration.moments import F64Array, InputSquares
from edgellm.converters.calibration.noise import (
    LEVEL,
    SKIPPED,
    OutputNoise,
    Reference,
    logit_gains,
)
from edgellm.converters.calibration.rows import RowLengths
from edgellm.converters.calibration.sites import Site, find_sites
from edgellm.converters.calibration.state import State, StateFile
from edgellm.converters.threads import thread_count
from edgellm.errors import InputError, UsageError
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.spec import ModelSpec

DEFAULT_TOKENS = 32_768
WINDOW_TOKENS = 256
MIN_WINDOWS = 4  # noise of one site is tried on so many windows at least
MAX_WINDOWS = 16  # and at most, however uncertain its gain still is
_RELATIVE_ERROR = 0.1  # standard error of a gain that is good enough
_SAVED_EVERY = 16  # windows observed between two saves
_METHOD = 2  # raised whenever equal arguments would give other results
_SETTINGS = (
    *(version("llama-cpp-python"), _METHOD),
    *(WINDOW_TOKENS, MAX_WINDOWS, MIN_WINDOWS, _RELATIVE_ERROR, LEVEL, SKIPPED),
)

Windows = Sequence[Sequence[int]]


def calibrate(
    gguf: Path,
    spec: ModelSpec,
    text: str,
    *,
    tokens: int = DEFAULT_TOKENS,
    cache: Path | None = None,
    threads: int | None = None,
    progress: ProgressSink = ignore_progress,
) -> Calibration:
    """Observe the inputs of every matrix, then disturb the outputs of each alone.

    gguf: the whole model in f32, f16, bf16 or q8_0, as converted from the checkpoint of `spec`.
    tokens: how many of the text to observe; a shorter text is used whole. cache: folder where
    findings are kept, so that an interrupted calibration goes on and a finished one costs a hash.
    progress: bytes of weights run through. Equal arguments give equal results.
    Raises UsageError, InputError, RuntimeFailure, OutputError.
    """
    job = _prepare(gguf, spec, text, tokens, cache, progress)
    if not job.is_done:
        with Engine(gguf, WINDOW_TOKENS, thread_count(threads)) as engine:
            windows = text_windows(engine, text, tokens)
            job.observe(engine, windows)
            job.disturb(engine, windows)
    return job.calibration()


def observe(
    gguf: Path,
    spec: ModelSpec,
    text: str,
    *,
    tokens: int = DEFAULT_TOKENS,
    cache: Path | None = None,
    threads: int | None = None,
    progress: ProgressSink = ignore_progress,
) -> Calibration:
    """The input moments alone, without gains: one run of the text.

    Arguments, cache and errors are those of `calibrate`, which goes on from here, and the moments
    are the same.
    """
    job = _prepare(gguf, spec, text, tokens, cache, progress)
    if not job.is_observed:
        with Engine(gguf, WINDOW_TOKENS, thread_count(threads)) as engine:
            job.observe(engine, text_windows(engine, text, tokens))
    return job.observations()


def read_windows(gguf: Path, text: str, count: int) -> Windows:
    """The text as `count` windows of tokens at most, spread evenly. Raises InputError."""
    with Engine(gguf, WINDOW_TOKENS, 1) as engine:
        return text_windows(engine, text, count * WINDOW_TOKENS)


def _prepare(
    gguf: Path,
    spec: ModelSpec,
    text: str,
    tokens: int,
    cache: Path | None,
    progress: ProgressSink,
) -> "_Job":
    """The job with what the cache holds of it. Raises UsageError, InputError."""
    if tokens < MIN_WINDOWS * WINDOW_TOKENS:
        raise UsageError(f"tokens is {tokens}; expected at least {MIN_WINDOWS * WINDOW_TOKENS}")
    sites = find_sites(gguf, spec)
    file = None
    if cache is not None:
        key = content_key(gguf, text, (tokens, *_SETTINGS), progress)
        file = StateFile(cache / f"{key}.npz", sites)
    state = file.read() if file else State()
    return _Job(sites, RowLengths(gguf), file, state, gguf.stat().st_size, progress)


@dataclass(frozen=True, slots=True)
class _Job:
    """One calibration: what to look at, what has been found, where to keep it."""

    sites: Sequence[Site]
    lengths: RowLengths
    file: StateFile | None
    state: State
    pass_bytes: int  # weights that one window runs through
    progress: ProgressSink

    @property
    def is_observed(self) -> bool:
        """Whether every window is."""
        return 0 < self.state.total_windows == self.state.windows

    @property
    def is_done(self) -> bool:
        """Whether every window is observed and every gain certain enough, or tried enough."""
        tried = len(self.state.gains) == self._most_trials()
        return self.is_observed and (tried or not self._uncertain_sites())

    def observe(self, engine: Engine, windows: Windows) -> None:
        self.state.total_windows = len(windows)
        for index in range(self.state.windows, len(windows)):
            self._observe(engine, windows[index])

    def disturb(self, engine: Engine, windows: Windows) -> None:
        tried = np.linspace(0, len(windows) - 1, self._most_trials()).astype(int)
        for index in tried[len(self.state.gains) :]:
            if not self.is_done:
                self._disturb(engine, windows[index], int(index))
        trials = len(self._disturbed) * self._most_trials()
        self._report("disturb", trials, trials, "")

    @property
    def _disturbed(self) -> Sequence[Site]:
        """All but the head, whose gain the logits alone tell."""
        return [site for site in self.sites if not site.is_head]

    def calibration(self) -> Calibration:
        """What all windows say together; the head of a tied embedding has its own gain."""
        gains = {
            site.name: gain
            for site, gain in zip(self._disturbed, _means(self.state.gains), strict=True)
        }
        (head,) = (site for site in self.sites if site.is_head)
        logits = self.state.logit_gains / self.state.windows
        head_gain, is_tied = float(logits.mean()), head.name in gains
        return replace(
            self.observations(),
            noise_gain=gains if is_tied else gains | {head.name: head_gain},
            head_gain=head_gain if is_tied else None,
            output_weights={head.name: (logits / (head_gain or 1)).astype(np.float32)},
        )

    def observations(self) -> Calibration:
        """The input moments, whatever gains are known."""
        tokens = self.state.windows * WINDOW_TOKENS
        moments = {
            site.name: (self.state.squares[site.weight] / tokens).astype(np.float32)
            for site in self.sites
            if not site.is_lookup
        }
        return Calibration(tokens, moments, noise_gain={})

    def _observe(self, engine: Engine, window: Sequence[int]) -> None:
        watcher = InputSquares({s.weight: s.columns for s in self.sites if not s.is_lookup})
        logits = engine.run(window, watcher)
        self.state.add_window(watcher.checked(), logit_gains(logits))
        done, total = self.state.windows, self.state.total_windows
        if done == total or done % _SAVED_EVERY == 0:
            self._save()
        self._report("observe", done, total, "inputs")

    def _disturb(self, engine: Engine, window: Sequence[int], index: int) -> None:
        """Try noise at each site whose gain is still uncertain."""
        reference = Reference.of(engine.run(window, None))
        gains: F64Array = np.full(len(self._disturbed), np.nan)
        uncertain = self._uncertain_sites()
        for position in uncertain:
            site = self._disturbed[position]
            noise = OutputNoise(site, index, self.lengths.of(site.weight))
            gains[position] = _gain(engine, window, reference, noise)
            self._report_trial(position, uncertain, site)
        self.state.gains.append(gains)
        self._save()

    def _uncertain_sites(self) -> Sequence[int]:
        """Positions of the disturbed sites whose gain needs another window."""
        count = len(self._disturbed)
        tried = np.array(self.state.gains).reshape(-1, count)
        return [i for i in range(count) if not _is_certain(tried[:, i])]

    def _report_trial(self, position: int, uncertain: Sequence[int], site: Site) -> None:
        """Sites whose gain is certain count as tried on every window."""
        windows = self._most_trials()
        left = len(uncertain) * (windows - len(self.state.gains)) - uncertain.index(position) - 1
        total = len(self._disturbed) * windows
        self._report("disturb", total - left, total, site.name)

    def _most_trials(self) -> int:
        return min(MAX_WINDOWS, self.state.total_windows)

    def _report(self, phase: str, done: int, total: int, item: str) -> None:
        self.progress(Progress(phase, done * self.pass_bytes, total * self.pass_bytes, item))

    def _save(self) -> None:
        if self.file is not None:
            self.file.write(self.state)


def _gain(engine: Engine, window: Sequence[int], reference: Reference, noise: OutputNoise) -> float:
    """Nats per token for each unit of noise power; nothing can be lost where outputs are zero."""
    divergence = reference.divergence(engine.run(window, noise))
    return divergence / noise.power if noise.power else 0.0


def _is_certain(gains: F64Array) -> bool:
    """gains: of one site in each window, NaN from the window on that it was certain before."""
    measured = gains[~np.isnan(gains)]
    if len(measured) < MIN_WINDOWS:
        return False
    error = measured.std(ddof=1) / np.sqrt(len(measured))
    return bool(error <= _RELATIVE_ERROR * measured.mean())


def _means(gains: Sequence[F64Array]) -> list[float]:
    # Rounding can leave a gain of nearly zero a hair below it.
    return [max(0.0, float(mean)) for mean in np.nanmean(np.array(gains), axis=0)]


def text_windows(engine: Engine, text: str, tokens: int) -> Windows:
    """As many windows as `tokens` fill, spread evenly over the text. Raises InputError."""
    first = engine.first_token()
    length = WINDOW_TOKENS - len(first)
    found = engine.tokenize(text)
    fitting = len(found) // length
    if fitting < MIN_WINDOWS:
        raise InputError(
            f"the calibration text has {len(found)} tokens; expected at least "
            f"{MIN_WINDOWS * length}. Give a longer one"
        )
    count = min(fitting, tokens // WINDOW_TOKENS)
    starts = np.linspace(0, len(found) - length, count).astype(int)
    return [first + found[start : start + length] for start in starts]
