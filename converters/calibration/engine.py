"""llama.cpp on the processor alone, with someone watching every operation of its graph."""

import ctypes
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from edgellm.closing import Closing
from edgellm.converters.bindings import llama, log_to
from edgellm.converters.calibration.graph import F32Array, Node, graph_library
from edgellm.errors import RuntimeFailure
from edgellm.interrupts import HeldInterrupt, interrupts_held

_WARN, _ERROR = 3, 4  # enum ggml_log_level
_SHOWN_LINES = 3
_TOKEN_BYTES = 32  # room for the text of a token; few need more


class Watcher(Protocol):
    """Told of the graph's operations while a window of text runs."""

    def wants(self, node: Node) -> bool:
        """Whether `see` shall be called once the operation is computed."""

    def see(self, node: Node) -> None:
        """Look at a computed operation, or change its outputs before they are used."""


class Model(Closing):
    """A model and its vocabulary, to run in contexts that its user makes."""

    def __init__(self, gguf: Path) -> None:
        """Raises RuntimeFailure. Close it, also when only part of it came to be."""
        self._opened = ExitStack()
        try:
            self._complaints = self._opened.enter_context(_captured_log())
            self.handle = self._load(gguf)
        except BaseException:
            self._opened.close()
            raise
        self._vocab = llama.llama_model_get_vocab(self.handle)
        self.vocab_size = int(llama.llama_vocab_n_tokens(self._vocab))

    def close(self) -> None:
        self._opened.close()

    def tokenize(self, text: str) -> list[int]:
        """Without special tokens, whether or not the text spells them."""
        raw = text.encode()
        room = len(raw) + 8  # a token has a byte at least; a few may go before
        ids = (llama.llama_token * room)()
        count = llama.llama_tokenize(self._vocab, raw, len(raw), ids, room, False, False)
        if count < 0:
            raise self.failure("cannot turn the calibration text into tokens")
        return list(ids[:count])

    def first_token(self) -> list[int]:
        """What the model expects before a text: its BOS token, or nothing."""
        adds = llama.llama_vocab_get_add_bos(self._vocab)
        return [int(llama.llama_vocab_bos(self._vocab))] if adds else []

    def opening_token(self) -> int:
        """What a text from nothing begins with: BOS, or what ends another text."""
        begins = (llama.llama_vocab_bos(self._vocab), llama.llama_vocab_eos(self._vocab), 0)
        return next(int(token) for token in begins if token >= 0)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones have none."""
        ids = (llama.llama_token * len(tokens))(*tokens)
        room = _TOKEN_BYTES * len(tokens)
        while True:
            found = ctypes.create_string_buffer(room)
            count = llama.llama_detokenize(self._vocab, ids, len(tokens), found, room, True, False)
            if count >= 0:
                return found.raw[:count].decode("utf-8", "replace")
            room = -count

    def failure(self, problem: str) -> RuntimeFailure:
        return RuntimeFailure("llama.cpp", "; ".join((problem, *self._complaints)))

    def _load(self, gguf: Path) -> llama.llama_model_p:
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        no_devices = (ctypes.c_void_p * 1)()  # an empty list; without one, all are taken
        params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
        params.n_gpu_layers = 0
        params.use_extra_bufts = False  # rearranged weights would double the memory
        with interrupts_held():
            model = llama.llama_model_load_from_file(os.fsencode(gguf), params)
            if model is None:
                raise self.failure(f"cannot load {gguf}")
            self._opened.callback(llama.llama_model_free, model)
        return model


class Engine(Model):
    """A model and a context of one window; every run starts from an empty cache."""

    def __init__(self, gguf: Path, window_tokens: int, threads: int) -> None:
        """Raises RuntimeFailure. Close it, also when only part of it came to be."""
        self._library = graph_library()
        self._watcher: Watcher | None = None
        self._error: BaseException | None = None
        self._interrupt = HeldInterrupt()
        self._callback = llama.ggml_backend_sched_eval_callback(self._on_node)
        super().__init__(gguf)
        try:
            self._context = self._make_context(window_tokens, threads)
        except BaseException:
            self._opened.close()
            raise
        self._batch = llama.llama_batch_init(window_tokens, 0, 1)
        self._opened.callback(llama.llama_batch_free, self._batch)

    def run(self, tokens: Sequence[int], watcher: Watcher | None) -> F32Array:
        """Logits of every position: [tokens, vocabulary], valid until the next run.

        Raises RuntimeFailure, or whatever the watcher raised.
        """
        self._fill_batch(tokens)
        llama.llama_memory_clear(llama.llama_get_memory(self._context), False)
        self._watcher, self._error = watcher, None
        with interrupts_held() as self._interrupt:
            status = llama.llama_decode(self._context, self._batch)
        self._watcher = None
        if self._error is not None:
            raise self._error
        if status:
            raise self.failure(f"decoding failed with status {status}")
        logits = llama.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (len(tokens), self.vocab_size))

    def _on_node(self, address: int, ask: bool, _: object) -> bool:
        """Called by llama.cpp, which is no Python: an exception waits until it has returned."""
        if self._interrupt.came:
            return ask  # to look at this operation, and then to go no further
        if self._watcher is None or self._error is not None:
            return False
        try:
            node = Node(self._library, address)
            if ask:
                return self._watcher.wants(node)
            self._watcher.see(node)
        except BaseException as error:
            self._error = error
        return self._error is None

    def _fill_batch(self, tokens: Sequence[int]) -> None:
        self._batch.n_tokens = len(tokens)
        for position, token in enumerate(tokens):
            self._batch.token[position] = token
            self._batch.pos[position] = position
            self._batch.n_seq_id[position] = 1
            self._batch.seq_id[position][0] = 0
            self._batch.logits[position] = 1

    def _make_context(self, window_tokens: int, threads: int) -> llama.llama_context_p:
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = window_tokens
        params.n_threads = params.n_threads_batch = threads
        params.cb_eval = self._callback
        params.op_offload = params.offload_kqv = False
        with interrupts_held():
            context = llama.llama_init_from_model(self.handle, params)
            if context is None:
                raise self.failure(f"cannot make a context of {window_tokens} tokens")
            self._opened.callback(llama.llama_free, context)
        return context


@contextmanager
def _captured_log() -> Iterator[deque[str]]:
    """The last warnings and errors, instead of on stderr; the log goes back to whoever had it."""
    lines: deque[str] = deque(maxlen=_SHOWN_LINES)

    def keep(level: int, text: str) -> None:
        if level in (_WARN, _ERROR) and text:
            lines.append(" ".join(text.split()))

    with log_to(keep):
        yield lines
