"""A text that the model writes itself: what it takes for likely is what its weights are used for.

Plain sampling at temperature 1 from the model's first token on, in many sequences at once, as for
LLM-QAT (Liu et al. 2023). Takes 2 * parameters operations for each token, and the cache of all
sequences in f16 beside the mapped weights.
"""

from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.closing import Closing
from edgellm.converters.bindings import llama
from edgellm.converters.calibration.engine import Model
from edgellm.converters.calibration.graph import F32Array
from edgellm.converters.calibration.keys import content_key
from edgellm.converters.threads import thread_count
from edgellm.errors import RuntimeFailure
from edgellm.files import keep_file
from edgellm.interrupts import interrupts_held
from edgellm.progress import Progress, ProgressSink, ignore_progress

SEQUENCES = 32
LENGTH = 256  # tokens of each sequence: a window of the calibration
_METHOD = 1  # counts up whenever the same model would write another text

Tokens = NDArray[np.int64]


def draw_text(
    gguf: Path,
    *,
    sequences: int = SEQUENCES,
    seed: int = 0,
    cache: Path | None = None,
    threads: int | None = None,
    progress: ProgressSink = ignore_progress,
) -> str:
    """Sequences of LENGTH tokens each, one after the other; the same for the same arguments.

    cache: folder where the text is kept. progress: bytes of weights run through.
    Raises InputError, RuntimeFailure, OutputError.
    """
    kept = None
    if cache is not None:
        settings = (version("llama-cpp-python"), _METHOD, sequences, LENGTH, seed)
        kept = cache / f"{content_key(gguf, '', settings, progress)}.txt"
        with suppress(OSError, UnicodeDecodeError):  # drawn again where it is absent or damaged
            return kept.read_bytes().decode()  # read_text would change line ends
    with Model(gguf) as model, _Writer(model, sequences, thread_count(threads)) as writer:
        drawn = _draw(writer, seed, gguf.stat().st_size, progress)
        text = "\n\n".join(model.detokenize(row) for row in drawn.T.tolist())
    if kept is not None:
        keep_file(kept, text.encode())
    return text


def _draw(writer: "_Writer", seed: int, weights_bytes: int, progress: ProgressSink) -> Tokens:
    """Token ids: [LENGTH, sequences]."""
    random = np.random.default_rng(seed)
    drawn = [writer.first_tokens()]
    for position in range(LENGTH - 1):
        logits = writer.step(drawn[-1], position)
        # The largest of logits with Gumbel noise is a draw from their softmax. In float32 the
        # noise of one entry in ten million would be infinite.
        noise = -np.log(random.standard_exponential(logits.shape))
        drawn.append((logits + noise).argmax(axis=1))
        progress(Progress("draw", (position + 1) * weights_bytes, (LENGTH - 1) * weights_bytes))
    return np.stack(drawn)


class _Writer(Closing):
    """A context that holds every sequence and computes one token of each at a time."""

    def __init__(self, model: Model, sequences: int, threads: int) -> None:
        self._model = model
        self._sequences = sequences
        self._opened = ExitStack()
        params = llama.llama_context_default_params()
        params.n_ctx = sequences * LENGTH
        params.n_seq_max = params.n_batch = params.n_ubatch = sequences
        params.n_threads = params.n_threads_batch = threads
        params.op_offload = params.offload_kqv = False
        with interrupts_held():
            context = llama.llama_init_from_model(model.handle, params)
            if context is None:
                raise model.failure(f"cannot make a context of {sequences} x {LENGTH} tokens")
            self._opened.callback(llama.llama_free, context)
        self._context = context
        self._batch = llama.llama_batch_init(sequences, 0, 1)
        self._opened.callback(llama.llama_batch_free, self._batch)

    def close(self) -> None:
        self._opened.close()

    def first_tokens(self) -> Tokens:
        """What each sequence begins with."""
        return np.full(self._sequences, self._model.opening_token())

    def step(self, tokens: Tokens, position: int) -> F32Array:
        """Logits after one more token of every sequence: [sequences, vocabulary]."""
        batch = self._batch
        batch.n_tokens = self._sequences
        for sequence, token in enumerate(tokens.tolist()):
            batch.token[sequence] = token
            batch.pos[sequence] = position
            batch.n_seq_id[sequence] = 1
            batch.seq_id[sequence][0] = sequence
            batch.logits[sequence] = 1
        if status := llama.llama_decode(self._context, batch):
            raise self._model.failure(f"decoding failed with status {status}")
        found = llama.llama_get_logits(self._context)
        logits = np.ctypeslib.as_array(found, (self._sequences, self._model.vocab_size))
        if not np.isfinite(logits).all():
            raise RuntimeFailure("llama.cpp", "the model's logits are not finite")
        return logits
