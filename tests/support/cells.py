"""A llama.cpp context with several sequences, driven token by token without the engine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import load_library
from edgellm.runtimes.llama_cpp.state import SequenceMemory


@dataclass(frozen=True)
class Cells:
    """One unified cache; batches continue sequence 0, others only keep their cells."""

    context: Context
    n_vocab: int

    @property
    def sequences(self) -> SequenceMemory:
        return SequenceMemory(self.context, in_pieces=True)

    @property
    def handle(self) -> llama.llama_context_p:
        return self.context.handle

    @property
    def memory(self) -> llama.llama_memory_t:
        memory = llama.llama_get_memory(self.handle)
        assert memory is not None
        return memory

    def read(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens in one batch; the logits after the last."""
        first = self.last() + 1
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, first + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = index == len(tokens) - 1
        assert llama.llama_decode(self.handle, batch) == 0
        llama.llama_batch_free(batch)
        logits = llama.llama_get_logits_ith(self.handle, -1)
        return np.ctypeslib.as_array(logits, (self.n_vocab,)).copy()

    def go_on(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens one by one; the logits after each, [tokens, vocabulary]."""
        return np.stack([self.read([token]) for token in tokens])

    def drop(self, first: int, last: int) -> None:
        """Let positions `first` to `last` - 1 go, and move the later ones into their place."""
        assert llama.llama_memory_seq_rm(self.memory, 0, first, last)
        llama.llama_memory_seq_add(self.memory, 0, last, -1, first - last)

    def move(self, source: int, target: int) -> None:
        """Let another sequence hold what this one did."""
        llama.llama_memory_seq_cp(self.memory, source, target, -1, -1)
        llama.llama_memory_seq_rm(self.memory, source, -1, -1)

    def last(self, sequence: int = 0) -> int:
        """The last position held; -1 when there is none."""
        position: int = llama.llama_memory_seq_pos_max(self.memory, sequence)
        return position


@contextmanager
def open_cells(
    gguf: Path, key: str = "f16", value: str | None = None, context: int = 512
) -> Iterator[Cells]:
    load_library()
    formats = load_tables().kv_formats
    model_params = llama.llama_model_default_params()
    model_params.use_extra_bufts = False
    model = llama.llama_model_load_from_file(str(gguf).encode(), model_params)
    assert model
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = context
    params.n_seq_max, params.kv_unified = 1, True
    params.n_threads = params.n_threads_batch = 1
    params.type_k = formats[key].ggml_type
    params.type_v = formats[value or key].ggml_type
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
    handle = llama.llama_init_from_model(model, params)
    assert handle
    made = Context(handle, context)
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    try:
        yield Cells(made, n_vocab)
    finally:
        made.close()
        llama.llama_model_free(model)
