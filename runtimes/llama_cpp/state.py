"""The first sequence of a KV cache to a file and back, a piece at a time.

llama.cpp hands out a sequence as one block and trusts what it is given. So a sequence goes through
another, empty one in pieces of some MiB, and each piece is checked before llama.cpp sees it:
neither way takes memory for the whole. Models that keep more than a cell for each token, or not
every cell (recurrent, hybrid, sliding windows), go in one piece.

Nothing else may use the context meanwhile, but it may be closed.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import StatusError

if TYPE_CHECKING:
    from edgellm.runtimes.llama_cpp.state_file import StateWriter

Writing = AbstractContextManager["StateWriter"]

PIECE_BYTES = 8 << 20
MAX_PIECES = 4096
# Contexts are made for one sequence, which is the only one that llama.cpp saves; cells of a unified
# cache can belong to 256 all the same.
CURRENT, ASIDE, PASSING = 0, 255, 254
_ALL = -1  # positions
_NO_ROOM = 1  # status of llama_decode


@dataclass(frozen=True, slots=True)
class SequenceMemory:
    """The cells of one context."""

    context: Context
    in_pieces: bool  # every token has a cell of its own that stays, and may have been moved

    def save(
        self, source: int, tokens: Sequence[int], write: Callable[[Sequence[int]], Writing]
    ) -> None:
        """Write the cells of `tokens`, with which the sequence `source` begins.

        write: begins the file, given the bytes of each piece. A model that goes in one piece has
        one sequence only, CURRENT, which must hold just these tokens. Raises StatusError, and what
        writing raises.
        """
        with self._aside():
            self._settle(tokens[0])
            holder = ASIDE if source == CURRENT and self.in_pieces else source
            pieces = self._pieces(holder, len(tokens))
            sizes = [self._bytes_of(piece, holder) for piece in pieces]
            with write(sizes) as file:
                buffer = (ctypes.c_uint8 * max(sizes))()
                for piece, size in zip(pieces, sizes, strict=True):
                    self._write(holder, piece, buffer, size, file)

    def restore(self, pieces: Iterable[bytearray], make_room: Callable[[], bool]) -> None:
        """Fill CURRENT, which holds nothing; after an error it still does.

        make_room: frees cells of other sequences; False when there are none. Raises StatusError,
        and what reading the pieces raises.
        """
        try:
            for piece in pieces:
                self._take(piece, make_room)
        except BaseException:
            self._forget(CURRENT)
            raise

    def _settle(self, token: int) -> None:
        """Cells that were moved are turned to their new positions by the next batch only."""
        if not self.in_pieces:
            return
        batch = llama.llama_batch_init(1, 0, 1)
        try:
            batch.n_tokens, batch.token[0], batch.pos[0] = 1, token, 0
            batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, CURRENT, 1
            with self.context.hold() as handle:
                status: int = llama.llama_decode(handle, batch)
        finally:
            llama.llama_batch_free(batch)
            self._forget(CURRENT)
        if status not in (0, _NO_ROOM):  # turning needs no room
            raise StatusError(f"moved tokens cannot be turned: status {status}")

    def _pieces(self, holder: int, tokens: int) -> list[range]:
        """Positions of each piece."""
        if not self.in_pieces:
            return [range(tokens)]
        token_bytes = max(1, self._bytes_of(range(1), holder))
        step = max(1, PIECE_BYTES // token_bytes, -(-tokens // MAX_PIECES))
        return [range(start, min(start + step, tokens)) for start in range(0, tokens, step)]

    def _bytes_of(self, piece: range, holder: int) -> int:
        with self._passing(holder, piece) as number, self.context.hold() as handle:
            size: int = llama.llama_state_seq_get_size(handle, number)
        if not size:
            raise StatusError("the size of the KV cache is not known")
        return size

    def _write(
        self,
        holder: int,
        piece: range,
        buffer: "ctypes.Array[ctypes.c_uint8]",
        size: int,
        file: "StateWriter",
    ) -> None:
        with self._passing(holder, piece) as number, self.context.hold() as handle:
            got = llama.llama_state_seq_get_data(handle, buffer, size, number)
        if got != size:
            raise StatusError(f"the KV cache gave {got} bytes, expected {size}")
        file.add(memoryview(buffer)[:size])

    def _take(self, piece: bytearray, make_room: Callable[[], bool]) -> None:
        number = PASSING if self.in_pieces else CURRENT
        try:
            while not self._set(number, piece):
                if not make_room():
                    raise StatusError("the KV cache has no room for the saved tokens")
            if self.in_pieces:
                self.context.copy(PASSING, CURRENT, _ALL)
        finally:
            if self.in_pieces:
                self._forget(PASSING)

    def _set(self, number: int, piece: bytearray) -> bool:
        """False when there was no room; nothing has changed then."""
        raw = (ctypes.c_uint8 * len(piece)).from_buffer(piece)
        with self.context.hold() as handle:
            return bool(llama.llama_state_seq_set_data(handle, raw, len(piece), number))

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Keep CURRENT elsewhere meanwhile: it is the only one that llama.cpp hands out here."""
        if not self.in_pieces:
            yield
            return
        self._move(CURRENT, ASIDE)
        try:
            yield
        finally:
            self._move(ASIDE, CURRENT)

    @contextmanager
    def _passing(self, holder: int, piece: range) -> Iterator[int]:
        """A sequence that holds this piece and nothing else."""
        if not self.in_pieces:
            yield holder
            return
        with self.context.hold() as handle:
            memory = llama.llama_get_memory(handle)
            assert memory is not None, "it has cells"
            llama.llama_memory_seq_cp(memory, holder, CURRENT, piece.start, piece.stop)
        try:
            yield CURRENT
        finally:
            self._forget(CURRENT)

    def _move(self, source: int, target: int) -> None:
        self.context.copy(source, target, _ALL)
        self._forget(source)

    def _forget(self, number: int) -> None:
        self.context.cut(number, 0)
