"""What a model says with temperature 0, without anything that a runtime does to be quick."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from edgellm.runtimes.llama_cpp.library import load_library


def greedy_by_full_logits(path: Path, prompt: list[int], count: int) -> list[int]:
    """The tokens of an independent loop: a new context for each, argmax over all logits."""
    tokens = list(prompt)
    with _model(path) as model:
        for _ in range(count):
            tokens.append(int(np.argmax(_last_logits(model, tokens))))
    return tokens[len(prompt) :]


def last_logits(path: Path, tokens: list[int]) -> NDArray[np.float32]:
    """[vocabulary]: what a new context with an f32 cache expects after these tokens."""
    with _model(path) as model:
        return _last_logits(model, tokens)


@contextmanager
def _model(path: Path) -> Iterator[int]:
    load_library()
    model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
    try:
        yield model
    finally:
        llama.llama_model_free(model)


def _last_logits(model: int, tokens: list[int]) -> NDArray[np.float32]:
    params = llama.llama_context_default_params()
    params.n_ctx, params.type_k, params.type_v = 512, 0, 0
    params.n_threads = params.n_threads_batch = 1
    context = llama.llama_init_from_model(model, params)
    ids = (llama.llama_token * len(tokens))(*tokens)
    assert llama.llama_decode(context, llama.llama_batch_get_one(ids, len(tokens))) == 0
    n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    logits = ctypes.cast(llama.llama_get_logits(context), ctypes.POINTER(ctypes.c_float))
    found = np.ctypeslib.as_array(logits, (n_vocab,)).copy()
    llama.llama_free(context)
    return found
