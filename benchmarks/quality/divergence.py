"""KL divergence between two GGUF files over the same windows of text, through llama.cpp."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

F32Array = NDArray[np.float32]


# The engine keeps the callback, so it must outlive every call.
_DROP = llama.llama_log_callback(lambda _level, _text, _user: None)


class Evaluator:
    """Runs one GGUF over windows of tokens."""

    def __init__(self, path: Path) -> None:
        llama.llama_log_set(_DROP, None)
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RuntimeError(f"{path} does not load")
        self.vocab = llama.llama_model_get_vocab(self.model)
        self.vocab_size = llama.llama_vocab_n_tokens(self.vocab)

    def windows(self, text: str, length: int, count: int) -> list[list[int]]:
        """The first `count` windows of `length` tokens, spread evenly over the text."""
        raw = text.encode()
        room = len(raw) + 8
        ids = (llama.llama_token * room)()
        found = llama.llama_tokenize(self.vocab, raw, len(raw), ids, room, False, False)
        starts = np.linspace(0, found - length, count).astype(int)
        return [list(ids[start : start + length]) for start in starts]

    def log_probabilities(
        self, windows: Sequence[Sequence[int]], skip: int, key_type: int = 1, value_type: int = 1
    ) -> F32Array:
        """Log probabilities [positions, vocabulary] past the first `skip` tokens of each window."""
        length = len(windows[0])
        context = llama.llama_init_from_model(self.model, _params(length, key_type, value_type))
        found = [self._window(context, window, skip) for window in windows]
        llama.llama_free(context)
        return np.concatenate(found)

    def _window(self, context: llama.llama_context_p, window: Sequence[int], skip: int) -> F32Array:
        count = len(window)
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        batch = llama.llama_batch_init(count, 0, 1)
        batch.n_tokens = count
        for index, token in enumerate(window):
            batch.token[index], batch.pos[index] = token, index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = 1
        if llama.llama_decode(context, batch):
            raise RuntimeError("decode failed")
        llama.llama_batch_free(batch)
        pointer = llama.llama_get_logits(context)
        logits = np.ctypeslib.as_array(pointer, (count, self.vocab_size))[skip:].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return logits.astype(np.float32)

    def close(self) -> None:
        llama.llama_model_free(self.model)


def _params(length: int, key_type: int, value_type: int) -> llama.llama_context_params:
    params = llama.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = length
    params.n_threads = params.n_threads_batch = 2
    params.type_k, params.type_v = key_type, value_type
    params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
    return params


def divergence(reference: F32Array, other: F32Array) -> float:
    """Mean KL(reference || other) per position, in nats."""
    p, q = reference.astype(np.float64), other.astype(np.float64)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def quantize_preset(source: Path, target: Path, ftype: int) -> int:
    """Write one of llama.cpp's presets, without input statistics. Returns its tensors' bytes."""
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread = ftype, 2
    failed = llama.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    if failed:
        raise RuntimeError(f"preset {ftype} cannot be written")
    model = Evaluator(target)
    size = int(llama.llama_model_size(model.model))
    model.close()
    return size
