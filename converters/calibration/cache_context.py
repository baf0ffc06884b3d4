"""A context of llama.cpp whose K and V lie in given formats, to see what they do to the logits."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from edgellm.closing import Closing
from edgellm.converters.bindings import llama
from edgellm.converters.calibration.engine import Model
from edgellm.converters.calibration.graph import F32Array
from edgellm.formats import KVFormat
from edgellm.interrupts import interrupts_held

UBATCH_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of text from position 0 on, and where in it predictions are compared."""

    tokens: Sequence[int]
    scored: Sequence[int]  # rising positions

    def pieces(self) -> Iterator[tuple[Sequence[int], set[int]]]:
        """The tokens of one ubatch after another, with the indices of those that are scored."""
        for start in range(0, len(self.tokens), UBATCH_TOKENS):
            piece = self.tokens[start : start + UBATCH_TOKENS]
            yield piece, {p - start for p in self.scored if start <= p < start + len(piece)}


class CacheContext(Closing):
    """Owns a KV cache of one window; flash attention is on, on the processor alone."""

    def __init__(
        self, model: Model, pair: tuple[KVFormat, KVFormat], windows: Sequence[Window], threads: int
    ) -> None:
        """pair: formats of K and V, whose blocks must divide a head: llama.cpp aborts otherwise.

        windows: all that will run. Raises RuntimeFailure, most likely for want of memory.
        """
        self._model = model
        self._opened = ExitStack()
        with interrupts_held():
            context = llama.llama_init_from_model(model.handle, _params(pair, windows, threads))
            if context is None:
                named = "/".join(fmt.name for fmt in pair)
                raise model.failure(f"cannot make a {named} cache of {_longest(windows)} tokens")
            self._opened.callback(llama.llama_free, context)
        self._context = context
        self._batch = llama.llama_batch_init(UBATCH_TOKENS, 0, 1)
        self._opened.callback(llama.llama_batch_free, self._batch)

    def close(self) -> None:
        self._opened.close()

    def logits(self, window: Window) -> Iterator[F32Array]:
        """Run a window from an empty cache; yields after each ubatch. Raises RuntimeFailure.

        [scored positions of the ubatch, vocabulary], perhaps none; valid until the next.
        """
        llama.llama_memory_clear(llama.llama_get_memory(self._context), False)
        start = 0
        for piece, scored in window.pieces():
            self._fill_batch(piece, start, scored)
            if status := llama.llama_decode(self._context, self._batch):
                raise self._model.failure(f"decoding failed with status {status}")
            yield self._rows(len(scored))
            start += len(piece)

    def _rows(self, count: int) -> F32Array:
        width = self._model.vocab_size
        if not count:
            return np.empty((0, width), np.float32)
        return np.ctypeslib.as_array(llama.llama_get_logits(self._context), (count, width))

    def _fill_batch(self, tokens: Sequence[int], start: int, scored: set[int]) -> None:
        self._batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            self._batch.token[index] = token
            self._batch.pos[index] = start + index
            self._batch.n_seq_id[index] = 1
            self._batch.seq_id[index][0] = 0
            self._batch.logits[index] = index in scored


def _params(
    pair: tuple[KVFormat, KVFormat], windows: Sequence[Window], threads: int
) -> llama.llama_context_params:
    params = llama.llama_context_default_params()
    params.n_ctx = _longest(windows)
    params.n_batch = params.n_ubatch = UBATCH_TOKENS
    # A row of logits for every token of a ubatch would be the largest buffer.
    params.n_outputs_max = max(len(scored) for w in windows for _, scored in w.pieces())
    params.n_threads = params.n_threads_batch = threads
    params.type_k, params.type_v = (fmt.ggml_type for fmt in pair)
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
    params.op_offload = params.offload_kqv = False
    return params


def _longest(windows: Sequence[Window]) -> int:
    return max(len(window.tokens) for window in windows)
