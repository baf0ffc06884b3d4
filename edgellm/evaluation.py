"""How far a model strays from its reference on the same tokens: paired, in nats, in float64."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgellm.likeliest import Likeliest, Softmax, divergence
from edgellm.saved_reference import SavedReference

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]
Expected = F32Array | Likeliest  # logits, [positions, vocabulary], or what was kept of them

# Logits of one model that are float64 at once: 8 MiB, whatever the vocabulary.
_PIECE_LOGITS = 1 << 20
MOST_RANGES = 4
_LARGEST_LOG = math.log(np.finfo(np.float64).max)


def first_scored(window_tokens: int) -> int:
    """The first position of a window whose prediction counts: those before it have little context.

    Positions first_scored to window_tokens - 2 predict the tokens that follow each of them.
    """
    return window_tokens // 2


def cut_windows(tokens: Sequence[int], length: int, bos: int | None) -> list[list[int]]:
    """Cut a text as llama-perplexity does; what is left over at the end is not used.

    tokens: of the whole text, without a BOS. bos: None for a model that wants none. The text with
    its BOS is cut every `length` tokens, then BOS replaces the first token of each window.
    """
    begin = [] if bos is None else [bos]
    text = [*begin, *tokens]
    starts = range(0, len(text) - length + 1, length)
    return [begin + text[start + len(begin) : start + length] for start in starts]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tokens."""

    mean: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Divergence:
    """KL(reference || model) over tokens, in nats; quantiles are exact, between ranks linear."""

    mean: float
    standard_error: float
    median: float
    p99: float
    p99_9: float


@dataclass(frozen=True, slots=True)
class Quality:
    """A model beside its reference on the same tokens."""

    perplexity: float
    reference_perplexity: float
    log_perplexity_ratio: Estimate  # of model to reference, paired token by token
    kl_divergence: Divergence
    same_top_token: float  # share of positions, 0 to 1
    tokens: int  # scored

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PositionRange:
    """The divergence at some positions of every window: it grows where a coarse cache drifts."""

    first: int
    last: int
    kl_divergence: Estimate


class Comparison:
    """Takes the predictions of two models piece by piece and keeps 24 bytes for each position."""

    def __init__(self) -> None:
        self._divergence: list[F64Array] = []
        self._model_nll: list[F64Array] = []
        self._reference_nll: list[F64Array] = []
        self._same_top = 0
        self._windows = 0

    def add_window(
        self, reference: Iterable[Expected], model: Iterable[F32Array], following: Sequence[int]
    ) -> None:
        """Add the positions of a window, whose predictions come in equal pieces; see add()."""
        self._add_pieces(zip(reference, model, strict=True), following)

    def add_saved_window(
        self, saved: SavedReference, model: Iterable[F32Array], following: Sequence[int]
    ) -> None:
        """Add the positions of the window that `saved` has begun."""
        self._add_pieces(((saved.take(len(found)), found) for found in model), following)

    def _add_pieces(
        self, pieces: Iterable[tuple[Expected, F32Array]], following: Sequence[int]
    ) -> None:
        begin = 0
        for expected, found in pieces:
            self.add(expected, found, following[begin : begin + len(expected)])
            begin += len(expected)
        self._windows += 1

    def add(self, reference: Expected, model: F32Array, following: Sequence[int]) -> None:
        """Add some positions.

        reference: logits, [positions, vocabulary], or its likeliest tokens. model: logits.
        following: the token that the text has after each position. Raises InputError for logits
        that are not finite.
        """
        assert len(reference) == len(model) == len(following)
        tokens = np.asarray(following, np.intp)
        for rows in pieces(*model.shape):
            expected = reference[rows]
            q = Softmax(model[rows], "model")
            self._model_nll.append(-q.log_probability(tokens[rows]))
            if isinstance(expected, Likeliest):
                self._add_likeliest(expected, q)
            else:
                self._add_logits(expected, q, tokens[rows])

    def _add_logits(self, logits: F32Array, q: Softmax, following: NDArray[np.intp]) -> None:
        p = Softmax(logits, "reference")
        # The models' log normalizers are the same for every token of a row, and p sums to 1.
        crossed = np.einsum("ij,ij->i", p.weights, p.logits - q.logits) / p.total
        self._divergence.append(crossed - p.log_total + q.log_total)
        self._reference_nll.append(-p.log_probability(following))
        self._same_top += int((p.top == q.top).sum())

    def _add_likeliest(self, reference: Likeliest, q: Softmax) -> None:
        self._divergence.append(divergence(reference, q))
        self._reference_nll.append(-reference.following)
        self._same_top += int((reference.top == q.top).sum())

    def result(self) -> Quality:
        """What the tokens so far say; there must be two at least."""
        found = np.concatenate(self._divergence)
        model, reference = np.concatenate(self._model_nll), np.concatenate(self._reference_nll)
        mean = _estimate(found)
        median, p99, p99_9 = np.quantile(found, (0.5, 0.99, 0.999)).tolist()
        return Quality(
            perplexity=perplexity(model),
            reference_perplexity=perplexity(reference),
            log_perplexity_ratio=_estimate(model - reference),
            kl_divergence=Divergence(mean.mean, mean.standard_error, median, p99, p99_9),
            same_top_token=self._same_top / len(found),
            tokens=len(found),
        )

    def by_position(self, first: int) -> tuple[PositionRange, ...]:
        """The divergence in up to four equal parts of the windows added; first: position scored."""
        windows = np.concatenate(self._divergence).reshape(self._windows, -1)
        positions = np.arange(first, first + windows.shape[1])
        parts = np.array_split(positions, min(MOST_RANGES, max(1, len(positions) // 2)))
        return tuple(
            PositionRange(int(part[0]), int(part[-1]), _estimate(windows[:, part - first].ravel()))
            for part in parts
        )


def pieces(positions: int, vocabulary: int) -> Iterator[slice]:
    """Cut positions so that little is float64 at once."""
    step = max(1, _PIECE_LOGITS // vocabulary)
    return (slice(start, start + step) for start in range(0, positions, step))


def _estimate(values: F64Array) -> Estimate:
    error = values.std(ddof=1) / math.sqrt(len(values))
    return Estimate(float(values.mean()), float(error))


def perplexity(nll: F64Array) -> float:
    """exp of the mean; a model so bad that no float holds that gets the largest float."""
    return math.exp(min(float(nll.mean()), _LARGEST_LOG))
