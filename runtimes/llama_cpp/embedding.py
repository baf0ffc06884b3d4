"""Texts to vectors, in a small context of their own that lives as long as the call.

Pooling is what the model's file says (`{architecture}.pooling_type`); a file that says nothing gets
the mean over the tokens of the last layer's normalized output, which is what sentence-transformers
does with a model that brings no settings. Vectors are scaled to length 1.

llama.cpp pools within a batch only, and computes the logits of every token as well. So tokens come
back one by one and are pooled here, whatever the length of a text, and batches are as small as it
takes to keep those logits within LOGITS_BYTES. Beside them the call takes the float16 K and V of
the longest text, and the scratch of one batch.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgellm.errors import Cancelled, InputError, UnsupportedError
from edgellm.gguf_file import GGUFFile
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import Library, StatusError
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOGITS_BYTES = 64 << 20
TEXTS_AT_ONCE = 16
_LEAST_BATCH = 16  # tokens; fewer would read the weights too often
_NONE, _CLS, _LAST, _RANK = 0, 2, 3, 4  # enum llama_pooling_type; 1 is the mean
_ABORTED = 2
_CLOSED = "the model has been closed"


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """What every call of one model has in common."""

    pooling: int | None  # as the file says; None where it does not
    context: int  # tokens of the longest text
    ubatch: int
    threads: int

    def batch(self, n_vocab: int) -> int:
        """Tokens computed at once; llama.cpp holds their logits twice."""
        return max(_LEAST_BATCH, min(self.ubatch, LOGITS_BYTES // (8 * n_vocab)))


def pooling_of(file: GGUFFile) -> int | None:
    """The pooling that the file asks for."""
    architecture = file.metadata.get("general.architecture")
    pooling = file.metadata.get(f"{architecture}.pooling_type")
    return pooling if isinstance(pooling, int) else None


class Embedder:
    """Makes vectors with a loaded model; nothing is held between calls."""

    def __init__(
        self,
        library: Library,
        model: llama.llama_model_p,
        vocabulary: Vocabulary,
        settings: EmbeddingSettings,
    ) -> None:
        self._library = library
        self._model = model
        self._vocabulary = vocabulary
        self._settings = settings
        self._batch_tokens = settings.batch(vocabulary.n_tokens)
        self._width: int = llama.llama_model_n_embd_out(model)
        self._closing = CancelToken()
        self._working = threading.Lock()  # held while llama.cpp uses the model

    def close(self) -> None:
        """Stop a call that another thread makes, and wait for its end; the model can then go."""
        self._closing.cancel()
        self._working.acquire()
        self._working.release()

    def embed(self, texts: Sequence[str], cancel: CancelToken) -> "NDArray[np.float32]":
        """[texts, width]. Raises InputError, UnsupportedError, Cancelled, RuntimeFailure."""
        with (
            self._working,
            self._library.failures("embedding"),
            _either(cancel, self._closing) as stop,
        ):
            if self._closing.cancelled:
                raise StatusError(_CLOSED)
            try:
                return self._embed(texts, stop)
            except Cancelled:
                if self._closing.cancelled:
                    raise StatusError(_CLOSED) from None
                raise

    def _embed(self, texts: Sequence[str], stop: CancelToken) -> "NDArray[np.float32]":
        import numpy as np

        if self._settings.pooling == _RANK:
            raise UnsupportedError("this model ranks texts", ["models that pool their tokens"])
        token_lists = [self._tokens(index, text) for index, text in enumerate(texts)]
        vectors = np.empty((len(texts), self._width), np.float32)
        if not token_lists:
            return vectors
        with (
            self._context(max(map(len, token_lists))) as context,
            context.heeding(stop),
            _token_batch(self._batch_tokens) as batch,
        ):
            for group in self._groups(token_lists):
                for index, vector in self._pool(context, batch, group, stop):
                    vectors[index] = vector
        return vectors

    def _tokens(self, index: int, text: str) -> list[int]:
        """All of it is text: "<|end|>" in it is letters."""
        tokens = self._vocabulary.embedding_tokens(text)
        if not tokens:
            raise InputError(f"text {index} is empty; there is nothing to embed")
        if len(tokens) > self._settings.context:
            raise InputError(
                f"text {index} has {len(tokens)} tokens, the context holds "
                f"{self._settings.context}; shorten it or load with a larger context"
            )
        return tokens

    def _groups(self, token_lists: list[list[int]]) -> Iterator[dict[int, list[int]]]:
        """Texts by their index, as many as a batch holds, or one that is longer."""
        group: dict[int, list[int]] = {}
        held = 0
        for index, tokens in enumerate(token_lists):
            if group and (held + len(tokens) > self._batch_tokens or len(group) == TEXTS_AT_ONCE):
                yield group
                group, held = {}, 0
            group[index] = tokens
            held += len(tokens)
        yield group

    def _pool(
        self,
        context: Context,
        batch: llama.llama_batch,
        group: dict[int, list[int]],
        stop: CancelToken,
    ) -> "Iterator[tuple[int, NDArray[np.float64]]]":
        """(index, vector) of each text of a group."""
        context.clear()
        pools = {index: _Pool(self._settings.pooling, self._width) for index in group}
        sequences = {index: number for number, index in enumerate(group)}
        flat = [(index, at) for index, tokens in group.items() for at in range(len(tokens))]
        for start in range(0, len(flat), self._batch_tokens):
            part = flat[start : start + self._batch_tokens]
            for row, (index, at) in enumerate(part):
                batch.token[row], batch.pos[row] = group[index][at], at
                batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequences[index]
                batch.logits[row] = 1
            batch.n_tokens = len(part)
            outputs = self._outputs(context, batch, stop)
            for index in dict.fromkeys(index for index, _ in part):
                pools[index].add(outputs[[row for row, (i, _) in enumerate(part) if i == index]])
        for index, pool in pools.items():
            yield index, pool.unit()

    def _outputs(
        self, context: Context, batch: llama.llama_batch, stop: CancelToken
    ) -> "NDArray[np.float32]":
        """[tokens, width]: llama.cpp's, valid until the next batch."""
        import numpy as np

        with context.hold() as handle:
            status = _ABORTED if stop.cancelled else llama.llama_decode(handle, batch)
            if status == _ABORTED:
                raise Cancelled("embedding was cancelled")
            if status:
                raise StatusError(f"a batch failed with status {status}")
            rows = llama.llama_get_embeddings(handle)
        if not rows:
            raise StatusError("this model has no outputs to pool")
        return np.ctypeslib.as_array(rows, (batch.n_tokens, self._width))

    @contextmanager
    def _context(self, longest: int) -> Iterator[Context]:
        params = llama.llama_context_default_params()
        params.n_ctx = max(longest, self._batch_tokens)
        params.n_batch = params.n_ubatch = self._batch_tokens
        params.n_seq_max, params.kv_unified = TEXTS_AT_ONCE, True
        params.n_threads = params.n_threads_batch = self._settings.threads
        params.embeddings, params.pooling_type = True, _NONE
        handle = llama.llama_init_from_model(self._model, params)
        if handle is None:
            raise StatusError(f"no context for {longest} tokens")
        context = Context(handle, self._batch_tokens)
        try:
            yield context
        finally:
            context.close()


class _Pool:
    """Gathers the outputs of one text's tokens, as they come."""

    def __init__(self, pooling: int | None, width: int) -> None:
        import numpy as np

        self._pooling = pooling
        self._gathered = np.zeros(width, np.float64)
        self._empty = True

    def add(self, outputs: "NDArray[np.float32]") -> None:
        """outputs: [tokens, width], the next ones of the text."""
        import numpy as np

        if self._pooling == _LAST:
            self._gathered = outputs[-1].astype(np.float64)
        elif self._pooling != _CLS:
            self._gathered += outputs.sum(axis=0, dtype=np.float64)
        elif self._empty:
            self._gathered = outputs[0].astype(np.float64)
        self._empty = False

    def unit(self) -> "NDArray[np.float64]":
        """The first, the last or the mean, of length 1: a sum points where its mean does."""
        import numpy as np

        length = float(np.linalg.norm(self._gathered))
        if not 0 < length < np.inf:
            raise StatusError(f"a text's vector has length {length}")
        return self._gathered / length


@contextmanager
def _either(*asked: CancelToken) -> Iterator[CancelToken]:
    """One that is cancelled as soon as any of these is."""
    stop = CancelToken()
    silences = [token.listen(stop.cancel) for token in asked]
    try:
        yield stop
    finally:
        for silence in silences:
            silence()


@contextmanager
def _token_batch(tokens: int) -> Iterator[llama.llama_batch]:
    batch = llama.llama_batch_init(tokens, 0, 1)
    try:
        yield batch
    finally:
        llama.llama_batch_free(batch)
