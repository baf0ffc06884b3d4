"""A model that llama.cpp has loaded to be judged: tokens in, logits out."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.closing import Closing
from edgellm.errors import Cancelled, UsageError
from edgellm.gguf_file import GGUFFile
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import Library, load_library
from edgellm.runtimes.llama_cpp.loading import load_weights, make_context
from edgellm.runtimes.llama_cpp.preconditions import (
    ModelFacts,
    check_tensors,
    choose_kv_formats,
    read_facts,
)
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.options import ScoringOptions
from edgellm.runtimes.protocol import EventSink
from edgellm.tokenizer.text_rules import TextRules

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Tokens computed at once. llama-perplexity's ubatch: another one rounds differently.
PIECE_TOKENS = 512


class LlamaCppScorer(Closing):
    """Owns a model and a context of one window; see edgellm.runtimes.protocol.Scorer."""

    def __init__(
        self,
        library: Library,
        path: Path,
        options: ScoringOptions,
        handle: llama.llama_model_p,
        context: Context,
        vocabulary: Vocabulary,
        cancel: CancelToken,
    ) -> None:
        self._library = library
        self._path = path
        self._options = options
        self._handle: llama.llama_model_p | None = handle
        self._context = context
        self._vocabulary = vocabulary
        self._cancel = cancel

    @property
    def vocabulary_size(self) -> int:
        return self._vocabulary.n_tokens

    @property
    def bos(self) -> int | None:
        return self._vocabulary.begin

    def tokens(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text, parse_special=False)

    def logits(self, window: Sequence[int]) -> "Iterator[NDArray[np.float32]]":
        assert len(window) == self._options.window
        self._context.clear()
        for start in range(0, len(window), PIECE_TOKENS):
            piece = window[start : start + PIECE_TOKENS]
            # Nothing follows the last token, so nothing is asked of it.
            end = min(len(piece), len(window) - 1 - start)
            scored = range(max(self._options.first - start, 0), end)
            self._decode(piece, scored)
            if scored:
                yield self._context.logits(self.vocabulary_size, len(scored))

    def close(self) -> None:
        self._context.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            llama.llama_model_free(handle)

    def _decode(self, tokens: Sequence[int], scored: range) -> None:
        """Raises Cancelled, RuntimeFailure."""
        with self._library.failures(f"scoring with {self._path}"):
            with self._context.heeding(self._cancel):
                done = not self._cancel.cancelled and self._context.decode(tokens, scored)
            if not done:
                raise Cancelled("scoring was cancelled")


def scoring_bytes(file: GGUFFile, options: ScoringOptions) -> int:
    """Weights, KV cache and logits of a model to be judged; its scratch is small beside them.

    Raises FormatError, UsageError for cache formats that the model cannot take.
    """
    facts = read_facts(file)
    formats = choose_kv_formats(options.key_format, options.value_format, facts, on_gpu=False)
    head_bytes = formats.key.row_bytes(facts.key_head_dim) + formats.value.row_bytes(
        facts.value_head_dim
    )
    shapes = {tensor.name: tensor.shape for tensor in file.tensors}
    vocabulary_size = shapes.get("token_embd.weight", (0,))[0]
    # In the graph, and handed to the caller.
    logits_bytes = 2 * 4 * min(PIECE_TOKENS, options.predictions) * vocabulary_size
    weights_bytes = sum(tensor.bytes for tensor in file.tensors)
    return weights_bytes + options.window * _kv_heads(file, facts) * head_bytes + logits_bytes


def _kv_heads(file: GGUFFile, facts: ModelFacts) -> int:
    """Of all layers together; `read_facts` has checked the counts."""
    keys = (f"{facts.architecture}.attention.{name}" for name in ("head_count_kv", "head_count"))
    counts = next(file.metadata[key] for key in keys if key in file.metadata)
    if isinstance(counts, tuple):
        return sum(count for count in counts if isinstance(count, int))
    assert isinstance(counts, int)
    return facts.layers * counts


def open_scorer(
    file: GGUFFile,
    options: ScoringOptions,
    *,
    threads: int,
    extra_buffers: bool,
    on_event: EventSink,
    cancel: CancelToken,
) -> LlamaCppScorer:
    """Check the file, then load it on the CPU; see Runtime.open_scorer in runtimes/protocol.py."""
    facts = read_facts(file)
    check_tensors(file)
    if options.window > facts.trained_context:
        raise UsageError(
            f"a window of {options.window} tokens is more than the {facts.trained_context} that "
            f"{file.path} knows; give a smaller --window"
        )
    formats = choose_kv_formats(options.key_format, options.value_format, facts, on_gpu=False)
    rules = TextRules.from_metadata(file.metadata, str(file.path))
    library = load_library()
    with ExitStack() as undo:
        model = load_weights(
            library,
            file.path,
            gpu_layers=0,
            extra_buffers=extra_buffers,
            adds_space_prefix=rules is None,
            on_event=on_event,
            cancel=cancel,
        )
        undo.callback(llama.llama_model_free, model)
        vocabulary = Vocabulary(model, file, rules)
        context = make_context(
            library,
            model,
            formats,
            context_tokens=options.window,
            ubatch=PIECE_TOKENS,
            threads=threads,
            logits_rows=min(PIECE_TOKENS, options.predictions),
        )
        undo.pop_all()
    return LlamaCppScorer(library, file.path, options, model, context, vocabulary, cancel)
