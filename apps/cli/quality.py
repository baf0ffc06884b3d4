"""Two models, one text: both are loaded, fed the same windows and compared token by token."""

import hashlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.cli.answer import cancelled_by_interrupt, tell
from edgellm.apps.cli.keeping import Keeper, Target
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.progress_sinks import counted_progress
from edgellm.apps.cli.quality_report import Outcome
from edgellm.apps.launching import ENGINE
from edgellm.errors import BudgetError, InputError
from edgellm.evaluation import Comparison, cut_windows
from edgellm.gguf_file import read_gguf
from edgellm.hardware import detect_hardware
from edgellm.likeliest import TAIL
from edgellm.runtimes import open_runtime
from edgellm.runtimes.llama_cpp.scoring import scoring_bytes
from edgellm.runtimes.options import ScoringOptions
from edgellm.runtimes.protocol import Scorer
from edgellm.saved_reference import (
    ReferenceHeader,
    SavedReference,
    writing_reference,
)
from edgellm.units import format_bytes

MAX_TEXT_BYTES = 16 << 20

Windows = list[list[int]]


@dataclass(frozen=True, slots=True)
class Text:
    """What the models read."""

    name: str  # for messages
    content: str
    tokens: int | None = None  # of it to use at most; None is all

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content.encode()).hexdigest()


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


def reference_planning() -> PlanningOptions:
    """A checkpoint as reference: f16, and as large as the machine."""
    return PlanningOptions(memory=f"{detect_hardware().memory_total_bytes}B", format="f16")


def compare(
    model: Path | None,
    reference: Path,
    scoring: ScoringOptions,
    text: Text,
    target: Target | None,
    cache_dir: Path,
) -> Outcome:
    """Score the text with both models at once; one piece of logits of each is held.

    model: None where the reference's predictions are only kept. scoring: the model's; a reference
    keeps its KV cache in f16. Raises BudgetError when the models do not fit, InputError when they
    or the text do not match, Cancelled after Ctrl-C.
    """
    plain = ScoringOptions(scoring.window, scoring.first, threads=scoring.threads)
    parts = {} if model is None else {"model_bytes": scoring_bytes(read_gguf(model), scoring)}
    check_memory(parts | {"reference_bytes": scoring_bytes(read_gguf(reference), plain)})
    runtime = open_runtime(ENGINE, cache_dir)
    with cancelled_by_interrupt() as cancel, ExitStack() as opened:
        judged = None
        if model is not None:
            judged = opened.enter_context(runtime.open_scorer(model, scoring, tell, cancel))
        expected = opened.enter_context(runtime.open_scorer(reference, plain, cancel=cancel))
        windows = text_windows(expected, text, scoring.window)
        if judged is not None:
            check_same_windows(judged, expected, windows, text, scoring.window)
        if target is None:
            assert judged is not None, "nothing to do"
            return score(judged, expected, windows, scoring.first)
        header = reference_header(target, text, expected, windows, scoring)
        with writing_reference(target.path, header) as writer:
            outcome = score(judged, expected, windows, scoring.first, Keeper(target.path, writer))
    return outcome


def compare_with_saved(
    model: Path, saved: SavedReference, scoring: ScoringOptions, text: Text, cache_dir: Path
) -> Outcome:
    """Score the text with one model, and compare with what a reference expected once.

    Raises BudgetError, InputError for another text or tokenizer, FormatError, Cancelled.
    """
    header = saved.header
    if text.sha256 != header.text_sha256:
        raise InputError(f"{text.name}: not the text that the reference was saved with; give that")
    check_memory({"model_bytes": scoring_bytes(read_gguf(model), scoring)})
    runtime = open_runtime(ENGINE, cache_dir)
    with (
        cancelled_by_interrupt() as cancel,
        runtime.open_scorer(model, scoring, tell, cancel) as judged,
    ):
        check_vocabulary(judged, header.vocabulary_size)
        windows = text_windows(judged, text, header.window)[: header.windows]
        comparison = Comparison()

        def add(window: list[int]) -> None:
            saved.begin_window(window, text.name)
            following = window[header.first + 1 :]
            comparison.add_saved_window(saved, judged.logits(window), following)

        run_windows(windows, add)
    return Outcome(comparison.result(), comparison.by_position(header.first), None)


def check_memory(parts: Mapping[str, int]) -> None:
    """What is loaded together must fit together. Raises BudgetError."""
    needed_bytes, free_bytes = sum(parts.values()), detect_hardware().memory_available_bytes
    if needed_bytes <= free_bytes:
        return
    step = "give a smaller --window or close other programs"
    if len(parts) > 1:
        step = "save the reference alone first: drop MODEL, add --save-reference FILE"
    raise BudgetError(
        f"{' and '.join(name.removesuffix('_bytes') for name in parts)} take "
        f"{format_bytes(needed_bytes)}, {format_bytes(free_bytes)} is free; {step}",
        needed_bytes=needed_bytes,
        budget_bytes=free_bytes,
        largest_context=0,
        parts=parts,
    )


def text_windows(scorer: Scorer, text: Text, length: int) -> Windows:
    """The windows of the text. Raises InputError when it fills none."""
    tokens = scorer.tokens(text.content)
    windows = cut_windows(tokens, length, scorer.bos)
    if not windows:
        raise InputError(
            f"{text.name}: {len(tokens)} tokens, less than one window of {length}; "
            f"give a longer text or a smaller --window"
        )
    return windows if text.tokens is None else windows[: text.tokens // length]


def check_vocabulary(model: Scorer, size: int) -> None:
    """Raises InputError unless the model has as many tokens as its reference."""
    if model.vocabulary_size != size:
        raise InputError(
            f"the vocabularies differ: the model has {model.vocabulary_size} tokens, the reference "
            f"{size}; compare models of one family"
        )


def check_same_windows(
    model: Scorer, reference: Scorer, windows: Windows, text: Text, length: int
) -> None:
    """Raises InputError unless the model makes the reference's windows of the text."""
    check_vocabulary(model, reference.vocabulary_size)
    if cut_windows(model.tokens(text.content), length, model.bos)[: len(windows)] != windows:
        raise InputError(
            f"the vocabularies differ: {text.name} gives other token ids in the model than in the "
            f"reference; compare models of one family"
        )


def reference_header(
    target: Target, text: Text, reference: Scorer, windows: Windows, scoring: ScoringOptions
) -> ReferenceHeader:
    """What the file will say of itself."""
    return ReferenceHeader(
        target.model,
        target.model_sha256,
        text.sha256,
        reference.vocabulary_size,
        scoring.window,
        scoring.first,
        len(windows),
        TAIL,
    )


def score(
    model: Scorer | None,
    reference: Scorer,
    windows: Windows,
    first: int,
    keeper: Keeper | None = None,
) -> Outcome:
    """Run the windows through the models, from position `first` of each on."""
    comparison = Comparison()

    def add(window: list[int]) -> None:
        expected, following = reference.logits(window), window[first + 1 :]
        if keeper is not None:
            expected = keeper.passing(window, expected, following)
        if model is None:
            deque(expected, maxlen=0)
        else:
            comparison.add_window(expected, model.logits(window), following)

    run_windows(windows, add)
    saved = None if keeper is None else keeper.saved()
    if model is None:
        return Outcome(None, (), saved)
    return Outcome(comparison.result(), comparison.by_position(first), saved)


def run_windows(windows: Windows, add: Callable[[list[int]], None]) -> None:
    """Call `add` with each window, and show how long it will take."""
    total = sum(map(len, windows))
    with counted_progress("evaluate", total, "tokens", first_line_s=0) as advance:
        for window in windows:
            add(window)
            advance(len(window))
