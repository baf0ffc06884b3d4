"""Text that a model writes itself, many sequences at once, at temperature 1."""

import ctypes
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgellm.runtimes.llama_cpp.bindings import llama

SEQUENCES = 128
LENGTH = 256  # tokens of each sequence: a window of the calibration


class _Writer:
    """One model and a context that holds every sequence."""

    def __init__(self, gguf: Path, opened: ExitStack) -> None:
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = llama.llama_model_load_from_file(os.fsencode(gguf), params)
        opened.callback(llama.llama_model_free, self._model)
        options = llama.llama_context_default_params()
        options.n_ctx = SEQUENCES * LENGTH
        options.n_seq_max = options.n_batch = options.n_ubatch = SEQUENCES
        options.n_threads = options.n_threads_batch = 1
        self._context = llama.llama_init_from_model(self._model, options)
        opened.callback(llama.llama_free, self._context)
        self._vocab = llama.llama_model_get_vocab(self._model)
        self._entries = int(llama.llama_vocab_n_tokens(self._vocab))
        self._batch = llama.llama_batch_init(SEQUENCES, 0, 1)
        opened.callback(llama.llama_batch_free, self._batch)

    def first_token(self) -> int:
        return int(llama.llama_vocab_bos(self._vocab))

    def step(self, tokens: NDArray[np.int64], position: int) -> NDArray[np.float32]:
        """Logits after one more token of every sequence: [sequences, vocabulary]."""
        batch = self._batch
        batch.n_tokens = SEQUENCES
        for sequence, token in enumerate(tokens.tolist()):
            batch.token[sequence], batch.pos[sequence] = token, position
            batch.n_seq_id[sequence], batch.seq_id[sequence][0] = 1, sequence
            batch.logits[sequence] = 1
        if status := llama.llama_decode(self._context, batch):
            raise RuntimeError(f"decoding failed with status {status}")
        logits = llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (SEQUENCES, self._entries))

    def text(self, tokens: list[int]) -> str:
        room = 32 * len(tokens)
        found, ids = ctypes.create_string_buffer(room), (llama.llama_token * len(tokens))(*tokens)
        written = llama.llama_detokenize(self._vocab, ids, len(tokens), found, room, True, False)
        return found.raw[:written].decode("utf-8", "replace")


def draw_texts(gguf: Path, seed: int) -> list[str]:
    """SEQUENCES texts of LENGTH tokens; the same for the same seed."""
    random = np.random.default_rng(seed)
    with ExitStack() as opened:
        writer = _Writer(gguf, opened)
        drawn = [np.full(SEQUENCES, writer.first_token())]
        for position in range(LENGTH - 1):
            logits = writer.step(drawn[-1], position)
            # The largest of logits with Gumbel noise is a draw from their softmax.
            drawn.append((logits + random.gumbel(size=logits.shape)).argmax(axis=1))
        return [writer.text(row.tolist()) for row in np.stack(drawn, axis=1)]
