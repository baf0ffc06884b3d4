"""Checkpoint rows to GGUF blocks: a few MiB at a time, on every core, in order."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint
from edgellm.converters.gguf.tensors import OutputTensor
from edgellm.converters.rounding.rounding import Rounding
from edgellm.errors import FormatError, UnsupportedError

F32Array = NDArray[np.float32]
Blocks = NDArray[np.uint8]

# 2 MiB of float32: the slowest format takes a quarter of a second, which bounds the wait for
# Ctrl-C, and the fastest still spends far longer on it than Python spends on passing it around.
_CHUNK_WEIGHTS = 1 << 19
_POLL_S = 0.2  # Windows hears Ctrl-C only between waits
# The largest weight before rounding to infinity; block formats keep their scales in float16.
_LARGEST = {"f32": 3.4028234e38, "bf16": 3.3895313e38}
_LARGEST_F16 = 65504.0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows [start, stop) of one tensor."""

    tensor: OutputTensor
    start: int
    stop: int

    @property
    def is_last(self) -> bool:
        return self.stop == self.tensor.rows


Chunks = Generator[tuple[Chunk, Blocks], None, None]


def quantized_chunks(
    checkpoint: Checkpoint,
    tensors: Sequence[OutputTensor],
    rounding: Rounding,
    threads: int,
    moments: Mapping[str, F32Array],
) -> Chunks:
    """Yield every chunk of every tensor, in order, with its bytes in the file.

    moments: what guides the rounding, by the checkpoint's name of the tensor, where anything does.
    Memory stays at a few chunks per thread. Raises FormatError for a weight that is not finite,
    UnsupportedError for one too large for its format. Close the generator to stop early.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="quantize")
    pending: deque[tuple[Chunk, Future[Blocks]]] = deque()
    try:
        for chunk in _chunks(tensors):
            pending.append((chunk, pool.submit(_quantize, checkpoint, chunk, rounding, moments)))
            if len(pending) > 2 * threads:
                yield _finished(*pending.popleft())
        while pending:
            yield _finished(*pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(chunk: Chunk, future: Future[Blocks]) -> tuple[Chunk, Blocks]:
    while not future.done():
        wait((future,), timeout=_POLL_S)
    return chunk, future.result()


def _chunks(tensors: Sequence[OutputTensor]) -> Iterator[Chunk]:
    for tensor in tensors:
        step = _chunk_rows(tensor)
        for start in range(0, tensor.rows, step):
            yield Chunk(tensor, start, min(start + step, tensor.rows))


def _chunk_rows(tensor: OutputTensor) -> int:
    """Rows per chunk; a vector is one chunk, heads are never split."""
    if len(tensor.shape) == 1:
        return tensor.rows
    unit = tensor.head_rows or 1
    return max(1, _CHUNK_WEIGHTS // (unit * tensor.shape[1])) * unit


def _quantize(
    checkpoint: Checkpoint, chunk: Chunk, rounding: Rounding, moments: Mapping[str, F32Array]
) -> Blocks:
    tensor = chunk.tensor
    rows = checkpoint.read_rows(tensor.source, chunk.start, chunk.stop)
    _check_values(checkpoint, chunk, rows)
    if tensor.head_rows is not None:
        rows = interleave_halves(rows, tensor.head_rows)
    matrix = rows.reshape(-1, tensor.shape[-1])
    return rounding.pack(matrix, tensor.format, moments.get(tensor.source)).reshape(-1)


def _check_values(checkpoint: Checkpoint, chunk: Chunk, rows: F32Array) -> None:
    """Refuse NaN, infinity and what the format would turn into infinity."""
    # max and min pass NaN on, so two reductions see everything; NaN fails every comparison.
    fmt = chunk.tensor.format.name
    limit = _LARGEST.get(fmt, _LARGEST_F16)
    if -limit <= rows.min() and rows.max() <= limit:
        return
    at = np.unravel_index(np.argmin(np.abs(rows) <= limit), rows.shape)
    value = rows[at]
    index = [int(at[0]) + chunk.start, *map(int, at[1:])]
    where = f"tensor {chunk.tensor.source} is {value:g} at {index}"
    if np.isfinite(value):
        raise UnsupportedError(f"{where}, too large for {fmt}", tuple(_LARGEST))
    path = checkpoint.stored[chunk.tensor.source].path
    raise FormatError(path, f"{where}; expected finite weights. Download the checkpoint again")


def interleave_halves(rows: F32Array, head_rows: int) -> F32Array:
    """Order the rows of each head as llama.cpp rotates them: i, i + head_rows/2, i + 1, ...

    transformers rotates row i with row i + head_rows/2 of the same head; llama.cpp's "normal" rope
    rotates neighbours. rows: [n_heads * head_rows, ...].
    """
    halves = rows.reshape(-1, 2, head_rows // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)
