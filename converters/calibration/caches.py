"""What coarser caches of K and V cost a model: its own predictions with them, compared.

Nothing but the formats of the cache differs: llama.cpp, its kernels, the weights and the text are
the same. Errors of a cache add up over the context, so a window as long as the planned context
runs, and predictions in its second half are compared.

Memory beside the mapped weights: the cache of one window in one pair of formats at a time, at most
REFERENCE_BYTES of reference logits, and two rows of logits for each prediction compared in a
ubatch.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from edgellm.converters.calibration.cache_context import UBATCH_TOKENS, CacheContext, Window
from edgellm.converters.calibration.divergences import DivergenceFile, Divergences
from edgellm.converters.calibration.engine import Model
from edgellm.converters.calibration.graph import F32Array
from edgellm.converters.calibration.keys import content_key
from edgellm.converters.threads import thread_count
from edgellm.errors import InputError
from edgellm.evaluation import Comparison, first_scored
from edgellm.formats import KVFormat, Tables
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.sensitivity.caches import FULL
from edgellm.spec import ModelSpec

Pair = tuple[KVFormat, KVFormat]  # of K and V
Names = tuple[str, str]

LONGEST_TOKENS = 8192  # a pass over more takes too long where only a processor runs it
SHORTEST_TOKENS = 64
TEXT_TOKENS = 1024  # shorter windows are several, so that more than one passage has a say
POSITIONS = 512  # predictions compared at most
REFERENCE_BYTES = 128 << 20
# How much cheaper another pair must look before one is not measured: the costs of K and V alone add
# up to that of the pair within this factor (benchmarks/quality/caches.py).
CLEARLY = 1.1
_F32_BYTES = 4
_SETTINGS = (version("llama-cpp-python"), TEXT_TOKENS, POSITIONS, REFERENCE_BYTES, UBATCH_TOKENS)


@dataclass(frozen=True, slots=True)
class CacheDivergence:
    """What each pair of formats cost, and in how long a context."""

    tokens: int  # of the context; fewer than asked for where the text or LONGEST_TOKENS ended it
    positions: int  # whose predictions were compared
    nats: Mapping[Names, float]  # mean KL divergence per token, by names of K and V


def measure_caches(
    gguf: Path,
    spec: ModelSpec,
    tables: Tables,
    text: str,
    *,
    context: int,
    clearly: float = CLEARLY,
    cache: Path | None = None,
    threads: int | None = None,
    progress: ProgressSink = ignore_progress,
) -> CacheDivergence:
    """Mean KL(f16/f16 || K/V) of the pairs worth it, through llama.cpp on the processor.

    Each format of K runs alone, beside an f16 V, and each of V; then every offered pair runs, but
    for those to which another of no more bits looks `clearly` times cheaper when the costs of its
    K and V are added. So 1 + 2 * formats + pairs passes, each over the larger of the context and
    TEXT_TOKENS: about 30 with the table's formats. A pass takes 2 * parameters operations per
    token, and for attention 2 * layers * heads * head_dim * context more.

    gguf: the whole model in f32, f16 or bf16. context: tokens planned. cache: folder where figures
    are kept, so that an interrupted measurement goes on and a finished one costs a hash. progress:
    bytes of weights run through. Raises InputError, RuntimeFailure, OutputError.
    """
    length = max(SHORTEST_TOKENS, min(context, LONGEST_TOKENS))
    pairs = tables.pairs_for_heads(spec.head_dim)
    full = tables.kv_formats[FULL]
    if pairs == [(full, full)]:
        return CacheDivergence(context, 0, {(FULL, FULL): 0.0})
    file = None
    if cache is not None:
        key = content_key(gguf, text, (length, *_SETTINGS), progress)
        file = DivergenceFile(cache / f"{key}.json")
    found = file.read() if file else Divergences()
    job = _Job(pairs, full, clearly, file, found)
    if job.missing():
        with Model(gguf) as model:
            windows = text_windows(model, text, length)
            meter = _Meter(progress, gguf.stat().st_size)
            job.run(_Bench(model, windows, thread_count(threads), meter))
    return CacheDivergence(found.tokens, found.positions, {(FULL, FULL): 0.0, **found.nats})


@dataclass(slots=True)
class _Meter:
    """Counts ubatches; each runs through all weights once."""

    progress: ProgressSink
    pass_bytes: int
    phase: str = ""
    total: int = 0
    done: int = 0

    def begin(self, phase: str, total: int) -> None:
        self.phase, self.total, self.done = phase, total, 0

    def tick(self, item: str) -> None:
        self.done += 1
        scale = self.pass_bytes
        self.progress(Progress(self.phase, self.done * scale, self.total * scale, item))


@dataclass(frozen=True, slots=True)
class _Bench:
    """The windows, and a model to run them."""

    model: Model
    windows: Sequence[Window]
    threads: int
    meter: _Meter

    def begin(self, phase: str, passes: int) -> None:
        ubatches = sum(len(list(window.pieces())) for window in self.windows)
        self.meter.begin(phase, passes * ubatches)

    def logits(self, pair: Pair) -> Generator[F32Array]:
        """What follows each scored position, ubatch by ubatch; valid until the next.

        Close it: its context must go before the model does, also when whoever reads it raised.
        """
        with CacheContext(self.model, pair, self.windows, self.threads) as context:
            for window in self.windows:
                for rows in context.logits(window):
                    self.meter.tick("/".join(_names(pair)))
                    if len(rows):
                        yield rows

    def reference(self, full: KVFormat) -> list[F32Array]:
        """What the finest caches say: REFERENCE_BYTES at most."""
        with closing(self.logits((full, full))) as pieces:
            return [rows.copy() for rows in pieces]

    def divergence(self, pair: Pair, reference: Sequence[F32Array]) -> float:
        """Mean nats per token, in float64."""
        comparison = Comparison()
        following = [w.tokens[position + 1] for w in self.windows for position in w.scored]
        with closing(self.logits(pair)) as rows:
            comparison.add_window(reference, rows, following)
        return max(0.0, comparison.result().kl_divergence.mean)  # rounding may fall below


@dataclass(frozen=True, slots=True)
class _Job:
    """One measurement: the pairs to choose from, what has been found, where to keep it."""

    pairs: Sequence[Pair]
    full: KVFormat
    clearly: float
    file: DivergenceFile | None
    found: Divergences

    def missing(self) -> list[Pair]:
        """What to run next: formats alone, then the pairs that are worth it, then nothing."""
        alone = [pair for pair in self._alone() if _names(pair) not in self.found.nats]
        if alone:
            return alone
        worth = contenders(self.pairs, self.found.nats, self.clearly)
        known = {(FULL, FULL), *self.found.nats}
        return [pair for pair in worth if _names(pair) not in known]

    def run(self, bench: _Bench) -> None:
        self.found.tokens = len(bench.windows[0].tokens)
        self.found.positions = sum(len(window.scored) for window in bench.windows)
        missing = self.missing()
        bench.begin("caches", 1 + len(missing))
        reference = bench.reference(self.full)
        while missing:
            for pair in missing:
                self.found.nats[_names(pair)] = bench.divergence(pair, reference)
                self._save()
            missing = self.missing()
            bench.begin("pairs", len(missing))

    def _alone(self) -> list[Pair]:
        full = self.full
        formats = dict.fromkeys(fmt for pair in self.pairs for fmt in pair if fmt != full)
        return [(fmt, full) for fmt in formats] + [(full, fmt) for fmt in formats]

    def _save(self) -> None:
        if self.file is not None:
            self.file.write(self.found)


def contenders(pairs: Sequence[Pair], nats: Mapping[Names, float], clearly: float) -> list[Pair]:
    """The pairs to which no other of no more bits looks `clearly` times cheaper.

    nats: of every format alone, the other cache being f16; a pair looks as costly as both together.
    """
    alone = {(FULL, FULL): 0.0, **nats}
    looks = {p: alone[p[0].name, FULL] + alone[FULL, p[1].name] for p in pairs}
    return [
        pair
        for pair in pairs
        if not any(_bits(o) <= _bits(pair) and clearly * looks[o] < looks[pair] for o in pairs)
    ]


def text_windows(model: Model, text: str, length: int) -> list[Window]:
    """Windows of `length` tokens spread evenly over the text, or one of all of a shorter text.

    Raises InputError for a text of fewer than SHORTEST_TOKENS.
    """
    first = model.first_token()
    found = model.tokenize(text)
    body = min(length - len(first), len(found))
    if body + len(first) < SHORTEST_TOKENS:
        raise InputError(
            f"the text to measure caches on has {len(found)} tokens; expected at least "
            f"{SHORTEST_TOKENS}. Give a longer one"
        )
    count = max(1, min(TEXT_TOKENS // length, len(found) // body))
    starts = np.linspace(0, len(found) - body, count).astype(int)
    most = min(POSITIONS, REFERENCE_BYTES // (_F32_BYTES * model.vocab_size))
    scored = scored_positions(body + len(first), max(1, most // count))
    return [Window(first + found[start : start + body], scored) for start in starts]


def scored_positions(tokens: int, most: int) -> list[int]:
    """Positions spread evenly over the second half; the last predicts nothing that is known."""
    least, last = first_scored(tokens), tokens - 2
    positions = np.linspace(last, least, min(most, last - least + 1)).round().astype(int)
    return sorted(positions.tolist())


def _names(pair: Pair) -> Names:
    return pair[0].name, pair[1].name


def _bits(pair: Pair) -> float:
    return pair[0].bits_per_element + pair[1].bits_per_element
