"""Sequences of the KV cache to files and back, a piece at a time.

llama.cpp hands out a sequence as one block and trusts what it is given. So a sequence goes through
a spare one in pieces of some MiB, and each piece is checked before llama.cpp sees it: neither way
takes memory for the whole. Models that keep more than a cell for each token, or not every cell
(recurrent, hybrid, sliding windows), go in one piece.

The caller holds the context: nothing else may use it meanwhile.
"""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.library import StatusError
from edgellm.runtimes.llama_cpp.state_file import StateReader, StateWriter, new_state
from edgellm.runtimes.llama_cpp.state_key import StateKey

PIECE_BYTES = 8 << 20
MAX_PIECES = 4096


@dataclass(frozen=True, slots=True)
class SequenceMemory:
    """The cells of one context, of which one sequence is free to pass pieces through."""

    context: llama.llama_context_p
    spare: int  # id of a sequence that holds nothing
    in_pieces: bool  # whether every token has a cell of its own that stays

    @classmethod
    def of(
        cls, model: llama.llama_model_p, context: llama.llama_context_p, spare: int
    ) -> "SequenceMemory":
        one_block = (
            llama.llama_model_is_recurrent(model)
            or llama.llama_model_is_hybrid(model)
            or llama.llama_model_n_swa(model) > 0
        )
        return cls(context, spare, not one_block)

    def save(
        self,
        sequence: int,
        tokens: Sequence[int],
        path: Path,
        key: StateKey,
        fingerprint: Mapping[str, str],
    ) -> None:
        """Write the cells of `tokens`, with which the sequence begins.

        A model that goes in one piece must hold just these. Raises OutputError, StatusError.
        """
        self._settle(tokens[0])
        pieces = self._pieces(sequence, len(tokens))
        sizes = [self._piece_bytes(sequence, piece) for piece in pieces]
        with new_state(path, key, fingerprint, tokens, sizes) as file:
            buffer = (ctypes.c_uint8 * max(sizes))()
            for piece, size in zip(pieces, sizes, strict=True):
                self._write(sequence, piece, buffer, size, file)

    def restore(self, sequence: int, reader: StateReader) -> None:
        """Fill a sequence that holds nothing; after an error it still does.

        The caller has read the tokens, and there are free cells for them. Raises IntegrityError,
        StatusError.
        """
        try:
            for section in reader.sections():
                self._take(sequence, section)
        except BaseException:
            self._forget(sequence)
            raise

    def _settle(self, token: int) -> None:
        """Cells that were moved are turned to their new positions by the next token only."""
        batch = llama.llama_batch_init(1, 0, 1)
        try:
            batch.n_tokens, batch.token[0], batch.pos[0] = 1, token, 0
            batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, self.spare, 1
            # It needs no cell to turn the others: that it found none is no failure.
            status: int = llama.llama_decode(self.context, batch)
        finally:
            llama.llama_batch_free(batch)
            self._forget(self.spare)
        if status not in (0, 1):
            raise StatusError(f"moved tokens cannot be turned: status {status}")

    def _pieces(self, sequence: int, tokens: int) -> list[range]:
        """Positions of each piece."""
        if not self.in_pieces:
            return [range(tokens)]
        token_bytes = max(1, llama.llama_state_seq_get_size(self.context, sequence) // tokens)
        step = max(1, PIECE_BYTES // token_bytes, -(-tokens // MAX_PIECES))
        return [range(start, min(start + step, tokens)) for start in range(0, tokens, step)]

    def _piece_bytes(self, sequence: int, piece: range) -> int:
        with self._passing(sequence, piece) as holder:
            size: int = llama.llama_state_seq_get_size(self.context, holder)
        if not size:
            raise StatusError("the size of the KV cache is not known")
        return size

    def _write(
        self,
        sequence: int,
        piece: range,
        buffer: "ctypes.Array[ctypes.c_uint8]",
        size: int,
        file: StateWriter,
    ) -> None:
        with self._passing(sequence, piece) as holder:
            got = llama.llama_state_seq_get_data(self.context, buffer, size, holder)
        if got != size:
            raise StatusError(f"the KV cache gave {got} bytes, expected {size}")
        file.add(memoryview(buffer)[:size])

    def _take(self, sequence: int, section: bytearray) -> None:
        holder = self.spare if self.in_pieces else sequence
        raw = (ctypes.c_uint8 * len(section)).from_buffer(section)
        try:
            if llama.llama_state_seq_set_data(self.context, raw, len(section), holder) == 0:
                raise StatusError("the KV cache does not take the saved tokens")
            if self.in_pieces:
                llama.llama_memory_seq_cp(self._memory, self.spare, sequence, -1, -1)
        finally:
            if self.in_pieces:
                self._forget(self.spare)

    @contextmanager
    def _passing(self, sequence: int, piece: range) -> Iterator[int]:
        """A sequence that holds this piece and nothing else."""
        if not self.in_pieces:
            yield sequence
            return
        llama.llama_memory_seq_cp(self._memory, sequence, self.spare, piece.start, piece.stop)
        try:
            yield self.spare
        finally:
            self._forget(self.spare)

    def _forget(self, sequence: int) -> None:
        llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    @property
    def _memory(self) -> llama.llama_memory_t:
        memory = llama.llama_get_memory(self.context)
        assert memory is not None, "loading refuses models without one"
        return memory
