"""Two models, one text: both are loaded, fed the same windows and compared token by token."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.apps.cli.answer import ENGINE, cancelled_by_interrupt, tell
from edgellm.apps.cli.output import token_progress
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.errors import BudgetError, InputError
from edgellm.evaluation import Comparison, Quality, cut_windows
from edgellm.gguf_file import read_gguf
from edgellm.hardware import detect_hardware
from edgellm.runtimes import open_runtime
from edgellm.runtimes.protocol import Scorer, ScoringOptions
from edgellm.units import format_bytes

MAX_TEXT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """The files to compare, and how the model's is loaded."""

    model: Path
    reference: Path
    scoring: ScoringOptions

    @property
    def reference_scoring(self) -> ScoringOptions:
        """A reference keeps its KV cache in f16 whatever the model's is."""
        scoring = self.scoring
        return ScoringOptions(scoring.window, scoring.first, threads=scoring.threads)


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, as the user named it, and what came out."""

    model: str
    reference: str
    text: str
    scoring: ScoringOptions
    quality: Quality

    def to_json(self) -> dict[str, Any]:
        """The documented keys."""
        return {
            "model": self.model,
            "reference": self.reference,
            "text": self.text,
            "window": self.scoring.window,
            "key_format": self.scoring.key_format,
            "value_format": self.scoring.value_format,
            **self.quality.to_json(),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        quality, scoring = self.quality, self.scoring
        divergence, ratio = quality.kl_divergence, quality.log_perplexity_ratio
        cache = f"KV cache {scoring.key_format}/{scoring.value_format}"
        yield f"{quality.tokens} tokens scored in windows of {scoring.window}, {cache}"
        yield f"  KL divergence   {divergence.mean:.4g} ± {divergence.standard_error:.2g} nats"
        yield (
            f"                  median {divergence.median:.4g}, 99 % {divergence.p99:.4g}, "
            f"99.9 % {divergence.p99_9:.4g}"
        )
        yield f"  same top token  {100 * quality.same_top_token:.2f} %"
        perplexity = f"{quality.perplexity:.4f}, reference {quality.reference_perplexity:.4f}"
        yield f"  perplexity      {perplexity}"
        yield f"                  log ratio {ratio.mean:.4g} ± {ratio.standard_error:.2g}"


def reference_planning() -> PlanningOptions:
    """A checkpoint as reference: f16, and as large as the machine."""
    return PlanningOptions(memory=f"{detect_hardware().memory_total_bytes}B", format="f16")


def read_text(path: Path) -> str:
    """The whole file. Raises InputError for one that is missing, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_TEXT_BYTES:
        raise InputError(
            f"{path}: more than {format_bytes(MAX_TEXT_BYTES)} of text; a part of it serves as well"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def compare(pair: Pair, text: str, name: str, tokens: int | None, cache_dir: Path) -> Quality:
    """Score the text with both models at once; one piece of logits of each is held.

    name: the text's, for messages. tokens: of the text to use at most; None is all. Raises
    BudgetError when both models do not fit, InputError when they or the text do not match.
    """
    check_memory(pair)
    runtime = open_runtime(ENGINE, cache_dir)
    with (
        cancelled_by_interrupt() as cancel,
        runtime.open_scorer(pair.model, pair.scoring, tell, cancel) as model,
        runtime.open_scorer(pair.reference, pair.reference_scoring, cancel=cancel) as reference,
    ):
        windows = shared_windows(model, reference, text, name, pair.scoring.window)
        count = len(windows) if tokens is None else tokens // pair.scoring.window
        return score(model, reference, windows[:count], pair.scoring.first)


def check_memory(pair: Pair) -> None:
    """Both models are in memory at once. Raises BudgetError, FormatError."""
    parts = {
        f"{name}_bytes": sum(tensor.bytes for tensor in read_gguf(path).tensors)
        for name, path in (("model", pair.model), ("reference", pair.reference))
    }
    needed_bytes = sum(parts.values())
    free_bytes = detect_hardware().memory_available_bytes
    if needed_bytes > free_bytes:
        raise BudgetError(
            f"the weights of both models take {format_bytes(needed_bytes)}, "
            f"{format_bytes(free_bytes)} is free; a reference in q8_0 is smaller than one in f16",
            needed_bytes=needed_bytes,
            budget_bytes=free_bytes,
            largest_context=0,
            parts=parts,
        )


def shared_windows(
    model: Scorer, reference: Scorer, text: str, name: str, length: int
) -> list[list[int]]:
    """The windows of the text, the same for both models. Raises InputError."""
    if model.vocabulary_size != reference.vocabulary_size:
        raise InputError(
            f"the vocabularies differ: the model has {model.vocabulary_size} tokens, the reference "
            f"{reference.vocabulary_size}; compare models of one family"
        )
    tokens = model.tokens(text)
    windows = cut_windows(tokens, length, model.bos)
    if windows != cut_windows(reference.tokens(text), length, reference.bos):
        raise InputError(
            f"the vocabularies differ: {name} gives other token ids in the model than in the "
            f"reference; compare models of one family"
        )
    if not windows:
        raise InputError(
            f"{name}: {len(tokens)} tokens, less than one window of {length}; "
            f"give a longer text or a smaller --window"
        )
    return windows


def score(model: Scorer, reference: Scorer, windows: list[list[int]], first: int) -> Quality:
    """Compare the models over the windows, from position `first` of each on."""
    comparison = Comparison()
    with token_progress("evaluate", sum(map(len, windows))) as advance:
        for window in windows:
            expected, found = reference.logits(window), model.logits(window)
            comparison.add_window(expected, found, window[first + 1 :])
            advance(len(window))
    return comparison.result()
