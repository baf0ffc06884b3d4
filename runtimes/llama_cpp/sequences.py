"""The token sequences that one context's KV cache holds, and what of them a prompt can reuse.

Sequences share the cells of one cache. A prompt goes on from the sequence with which it shares the
longest beginning; where it branches off, both branches stay and share the cells of their beginning.
What was used least recently makes room.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context, NoRoomError
from edgellm.runtimes.llama_cpp.library import StatusError
from edgellm.runtimes.llama_cpp.shifting import Gap, find_gap, shared
from edgellm.runtimes.llama_cpp.transcript import Part

_FEW = 16  # tokens that are read again sooner than kept, or than worth a word
PARKED = 7  # sequences kept beside the one that goes on; each costs nothing but its cells


@dataclass(frozen=True, slots=True)
class MemoryKind:
    """How far a model's memory can go back."""

    recurrent: bool  # its state is the whole text's: nothing can be taken back
    window: int  # tokens that sliding-window layers see; 0 when every layer sees all

    @classmethod
    def of(cls, model: llama.llama_model_p) -> "MemoryKind":
        """That of a loaded model."""
        recurrent = llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model)
        return cls(recurrent, llama.llama_model_n_swa(model))

    @property
    def branches(self) -> bool:
        """Whether sequences can share a beginning."""
        return not self.recurrent and not self.window

    def goes_on(self, span: tuple[int, int], length: int) -> bool:
        """Whether a sequence that still has these positions can be continued after `length`."""
        first, last = span
        if length == 0 or last != length - 1:
            return length == 0 and last < 0
        if self.recurrent:
            return True
        return first <= max(length - self.window + 1, 0) if self.window else first == 0


@dataclass(frozen=True, slots=True)
class Parked:
    """A sequence that waits for a prompt to go on from it."""

    number: int
    tokens: list[int]
    parts: tuple[Part, ...]
    used: int


class CachedSequence:
    """The tokens of sequence 0, from the first one on: the one that batches continue."""

    def __init__(self, context: Context, kind: MemoryKind, make_room: Callable[[], bool]) -> None:
        """make_room: drops another sequence; False when there is none."""
        self._context = context
        self._kind = kind
        self._make_room = make_room
        self.tokens: list[int] = []
        self.parts: tuple[Part, ...] = ()  # the text of the tokens, as far as it is known
        self.used = 0  # which answer it was used for last
        self.keep = False  # whether it waits for another prompt when one leaves it
        self.ubatch = context.ubatch
        self.moved = False  # since the last batch

    def append(
        self, tokens: Sequence[int], wanted: range | None = None, *, drops: bool = True
    ) -> bool:
        """Compute at most a ubatch more; False when it was cancelled.

        wanted: see Context.decode. drops: whether other sequences make room where there is none.
        Raises NoRoomError, with nothing changed, and StatusError; the sequence is then empty.
        """
        try:
            added = self._context.decode(tokens, wanted)
        except NoRoomError:
            if not drops or not self._make_room():
                raise
            return self.append(tokens, wanted)
        except StatusError:
            self.clear()
            raise
        if added:
            self.tokens.extend(tokens)
            self.moved = False
        else:
            self._after_a_stop()
        return added

    def append_one(self, token: int) -> bool:
        """Compute one more; see append()."""
        try:
            added = self._context.decode_one(token)
        except NoRoomError:
            return self.append((token,))
        except StatusError:
            self.clear()
            raise
        if added:
            self.tokens.append(token)
            self.moved = False
        else:
            self._after_a_stop()
        return added

    def cut(self, length: int) -> bool:
        """Keep so many tokens; False when the memory cannot go back: then none are kept."""
        done = self._context.cut(0, length)
        if done and self._kind.goes_on(self._context.span(0), length):
            del self.tokens[length:]
            return True
        self.clear()
        return False

    def clear(self) -> None:
        self.tokens = []
        self.keep = self.moved = False
        self._context.cut(0, -1)

    def leave_out(self, gap: Gap) -> None:
        """Take a stretch out; what follows moves up, and its keys are turned with the next batch.

        No other sequence may share the cells of what follows: they would move too.
        """
        end = gap.start + gap.length
        self._context.cut(0, gap.start, end)
        self._context.move(0, end, -gap.length)
        del self.tokens[gap.start : end]
        self.moved = True

    def settle(self) -> None:
        """At an answer's end: forget tokens that moved, if no batch came to turn their keys."""
        if self.moved:
            self.clear()

    def _after_a_stop(self) -> None:
        """A cancelled batch may have turned the keys of some layers only."""
        self.cut(0 if self.moved else len(self.tokens))
        self.moved = False


class Sequences:
    """All sequences of one context."""

    def __init__(self, context: Context, kind: MemoryKind, *, can_shift: bool) -> None:
        """can_shift: whether tokens can move up in the cache, within the memory that is taken."""
        self._context = context
        self._kind = kind
        self._answers = count(1)
        self._parked: list[Parked] = []
        self._can_shift = can_shift
        self.lost = False  # whether a beginning that was held had to be read again
        self.current = CachedSequence(context, kind, self._drop_oldest)

    def begin(
        self, tokens: list[int], *, fresh: int = 1, may_shift: bool = False, keep: bool = True
    ) -> CachedSequence:
        """The current sequence, holding as much of these tokens as any sequence did.

        Sequences that it leaves are parked. fresh: tokens at the end that it must not hold, so
        that they are computed. may_shift: whether turns that left may leave the cache likewise.
        keep: whether it shall be parked in its turn; one that goes on from a kept one is anyway.
        """
        current = self.current
        if may_shift:
            self._shift(tokens)
        length = min(shared(current.tokens, tokens), len(tokens) - fresh)
        parked = max(self._parked, key=lambda held: shared(held.tokens, tokens), default=None)
        if parked is not None and shared(parked.tokens, tokens) > length:
            length = min(shared(parked.tokens, tokens), len(tokens) - fresh)
            self.park(spare=parked)
            self._resume(parked, length)
            current.keep = length == len(parked.tokens)
        elif length + _FEW <= len(current.tokens):
            self.park()
            current.keep = False
        self.lost |= not current.cut(length) and length >= _FEW
        current.keep |= keep
        current.used = next(self._answers)
        return current

    def parts(self) -> Iterator[tuple[Part, ...]]:
        """What is known of the text of each sequence."""
        yield self.current.parts
        for parked in self._parked:
            yield parked.parts

    def park(self, spare: Parked | None = None) -> None:
        """Set the current sequence aside where that can be; it still holds its tokens.

        One whose tokens were just moved cannot: a cancelled batch would spoil the shared cells.

        spare: a parked sequence that must not make room for it.
        """
        current = self.current
        if not (self._kind.branches and current.keep and current.tokens) or current.moved:
            return
        if len(self._parked) == PARKED:
            self._drop(min((p for p in self._parked if p is not spare), key=lambda p: p.used))
        taken = {parked.number for parked in self._parked}
        number = next(number for number in count(1) if number not in taken)
        self._context.copy(0, number, len(current.tokens))
        self._parked.append(Parked(number, current.tokens.copy(), current.parts, current.used))

    def holder(self, tokens: Sequence[int]) -> tuple[int, list[int], tuple[Part, ...]]:
        """(number, tokens, parts) of the sequence that shares the longest beginning with these."""
        current = (0, self.current.tokens, self.current.parts)
        parked = [(parked.number, parked.tokens, parked.parts) for parked in self._parked]
        return max((current, *parked), key=lambda held: shared(held[1], tokens))

    def fill(
        self,
        tokens: Sequence[int],
        parts: tuple[Part, ...],
        restore: Callable[[Callable[[], bool]], None],
    ) -> None:
        """Let the current sequence, once parked, be these tokens.

        restore: puts their cells into sequence 0, which is empty; what it is given makes room.
        """
        self.park()
        self.current.clear()
        restore(self._drop_oldest)
        self.current.tokens, self.current.parts = list(tokens), parts
        self.current.keep = True
        self.current.used = next(self._answers)

    def _shift(self, tokens: list[int]) -> None:
        """Where these tokens leave out turns that are held, let the cache leave them out."""
        if not self._can_shift:
            return
        held: list[CachedSequence | Parked] = [self.current, *self._parked]
        most = max(shared(one.tokens, tokens) for one in held)
        gaps = [(gap, one) for one in held if (gap := find_gap(one.tokens, tokens)) is not None]
        gap, one = max(gaps, key=lambda found: found[0].held, default=(None, None))
        if gap is None or one is None or gap.held <= most:
            return
        if isinstance(one, Parked):
            self.park(spare=one)
            self._resume(one, len(one.tokens))
        end = gap.start + gap.length
        for parked in self._parked.copy():
            if shared(parked.tokens, self.current.tokens) > end:
                self._drop(parked)
        self.current.leave_out(gap)

    def _resume(self, parked: Parked, length: int) -> None:
        """Let the current sequence be the beginning of a parked one, or all of it."""
        self.current.clear()
        self._context.copy(parked.number, 0, length)
        self.current.tokens = parked.tokens[:length]
        self.current.parts = parked.parts
        if length == len(parked.tokens):
            self._drop(parked)

    def _drop(self, parked: Parked) -> None:
        self._context.cut(parked.number, -1)
        self._parked.remove(parked)

    def _drop_oldest(self) -> bool:
        if not self._parked:
            return False
        self._drop(min(self._parked, key=lambda parked: parked.used))
        return True
