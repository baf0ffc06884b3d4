"""One llama.cpp context: the KV cache and the calls that fill it."""

import ctypes
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgellm.errors import RuntimeFailure
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.library import ENGINE, StatusError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NO_ROOM, _ABORTED = 1, 2
_DECODE_STATUS = {
    -1: "the batch is not valid",
    -2: "not enough memory for the computation",
}


class NoRoomError(StatusError):
    """The KV cache has no room for a batch; nothing was added."""


class Context:
    """Owns a llama_context and one batch of `ubatch` tokens; positions follow the cache.

    Sequences are numbers and share the cells of the cache. Batches continue sequence 0; the others
    only keep cells from being used again.
    """

    def __init__(self, handle: llama.llama_context_p, ubatch: int) -> None:
        self._handle: llama.llama_context_p | None = handle
        self.ubatch = ubatch
        self._native = threading.Lock()  # held inside llama.cpp, so that close() can wait
        self._tokens = (llama.llama_token * ubatch)()
        self._wants_logits = (ctypes.c_int8 * ubatch)()
        self._batch = llama.llama_batch_get_one(self._tokens, ubatch)
        self._stop_flag = ctypes.create_string_buffer(2)
        self._abort = _flag_reader()
        llama.llama_set_abort_callback(
            handle, self._abort, ctypes.cast(self._stop_flag, ctypes.c_void_p)
        )

    def check_open(self) -> None:
        """Raises RuntimeFailure once the model has been closed."""
        _ = self.handle

    @property
    def handle(self) -> llama.llama_context_p:
        if self._handle is None:
            raise RuntimeFailure(ENGINE, "the model has been closed")
        return self._handle

    @contextmanager
    def hold(self) -> Iterator[llama.llama_context_p]:
        """Keep the context to oneself, and from being closed, for calls that are not made here.

        Raises RuntimeFailure once the model has been closed.
        """
        with self._native:
            yield self.handle

    @property
    def can_shift(self) -> bool:
        """Whether positions can move without the tokens being read again."""
        with self._native:
            shiftable: bool = llama.llama_memory_can_shift(self._memory)
            return shiftable

    def clear(self) -> None:
        """Forget every token."""
        with self._native:
            llama.llama_memory_clear(self._memory, False)

    def cut(self, sequence: int, start: int, end: int = -1) -> bool:
        """Forget positions from `start` up to `end`; False where the memory cannot, unchanged."""
        with self._native:
            done: bool = llama.llama_memory_seq_rm(self._memory, sequence, start, end)
            return done

    def copy(self, source: int, target: int, length: int) -> None:
        """Let an empty sequence hold the first positions of another, in the same cells."""
        with self._native:
            llama.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def move(self, sequence: int, start: int, by: int) -> None:
        """Renumber positions from `start` on; the next batch turns their keys, in place."""
        with self._native:
            llama.llama_memory_seq_add(self._memory, sequence, start, -1, by)

    def span(self, sequence: int) -> tuple[int, int]:
        """The first and the last position held; (-1, -1) when there is none."""
        with self._native:
            memory = self._memory
            first: int = llama.llama_memory_seq_pos_min(memory, sequence)
            last: int = llama.llama_memory_seq_pos_max(memory, sequence)
            return first, last

    def decode(self, tokens: Sequence[int], wanted: range | None = None) -> bool:
        """Add at most `ubatch` tokens; False when it was cancelled, and none was added.

        wanted: indices of tokens whose logits are wanted; None wants the last one's. Raises
        StatusError.
        """
        count = len(tokens)
        self._tokens[:count] = tokens
        if wanted is None:
            return self._decode(count)
        self._wants_logits[:count] = [index in wanted for index in range(count)]
        self._batch.logits = self._wants_logits
        try:
            return self._decode(count)
        finally:
            self._batch.logits = None

    def decode_one(self, token: int) -> bool:
        self._tokens[0] = token
        return self._decode(1)

    def logits(self, n_vocab: int, rows: int) -> "NDArray[np.float32]":
        """The logits of the last batch, [rows, n_vocab]: llama.cpp's, valid until the next one."""
        import numpy as np

        with self._native:
            return np.ctypeslib.as_array(llama.llama_get_logits(self.handle), (rows, n_vocab))

    def raw_logits(self, n_vocab: int, rows: int) -> list[memoryview]:
        """The bytes of each row of logits(), for those who can do without numpy and its 11 MiB."""
        row_type = ctypes.c_float * n_vocab
        with self._native:
            first = llama.llama_get_logits(self.handle)
            held = ctypes.cast(first, ctypes.POINTER(row_type * rows)).contents
        return [memoryview(row).cast("B") for row in held]

    def row(self, n_vocab: int, row: int) -> "NDArray[np.float32]":
        """Logits of one token of the last batch, -1 being its last: llama.cpp's, [n_vocab]."""
        import numpy as np

        with self._native:
            return np.ctypeslib.as_array(llama.llama_get_logits_ith(self.handle, row), (n_vocab,))

    def sample(self, chain: "llama.llama_sampler_p", row: int = -1) -> int:
        """A token from the logits of one token of the last batch; -1 is its last."""
        with self._native:
            token: int = llama.llama_sampler_sample(chain, self._handle or self.handle, row)
            return token

    @contextmanager
    def heeding(self, cancel: CancelToken) -> Iterator[None]:
        """Let `cancel` stop llama.cpp between two operations of its graph."""

        def stop() -> None:
            self._stop_flag[0] = b"x"

        self._stop_flag[0] = b"\0"
        silence = cancel.listen(stop)
        try:
            yield
        finally:
            silence()

    def close(self) -> None:
        """Free the cache, after the call that is running, which is told to stop."""
        self._stop_flag[0] = b"x"
        with self._native:
            handle, self._handle = self._handle, None
            if handle is not None:
                llama.llama_free(handle)

    @property
    def _memory(self) -> llama.llama_memory_t:
        memory = llama.llama_get_memory(self.handle)
        assert memory is not None
        return memory

    def _decode(self, count: int) -> bool:
        self._batch.n_tokens = count
        with self._native:
            status: int = llama.llama_decode(self._handle or self.handle, self._batch)
        if status == 0:
            return True
        if status == _ABORTED:
            return False
        if status == _NO_ROOM:
            raise NoRoomError("the KV cache has no room for the batch")
        raise StatusError(_DECODE_STATUS.get(status, f"decoding failed with status {status}"))


def _flag_reader() -> Callable[[int], bool]:
    """An abort callback in C, so that asking costs no Python: strlen("") is 0, strlen("x") is 1."""
    libc = ctypes.cdll.msvcrt if hasattr(ctypes, "WinDLL") else ctypes.CDLL(None)
    address = ctypes.cast(libc.strlen, ctypes.c_void_p).value
    reader: Callable[[int], bool] = llama.ggml_abort_callback(address)
    return reader
