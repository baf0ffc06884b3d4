"""The token sequences that one context's KV cache holds, and what of them a prompt can reuse.

Sequences share the cells of one cache. A prompt goes on from the sequence with which it shares the
longest beginning; where it branches off, both branches stay and share the cells of their beginning.
What was used least recently makes room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from edgellm.runtimes.llama_cpp.context import Context, NoRoomError
from edgellm.runtimes.llama_cpp.library import StatusError
from edgellm.runtimes.llama_cpp.transcript import Part

PARKED = 7  # sequences kept beside the one that goes on; each costs nothing but its cells


@dataclass(frozen=True, slots=True)
class MemoryKind:
    """How far a model's memory can go back."""

    recurrent: bool  # its state is the whole text's: nothing can be taken back
    window: int  # tokens that sliding-window layers see; 0 when every layer sees all

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

    def append(self, tokens: Sequence[int], wanted: range | None = None) -> bool:
        """Compute at most a ubatch more; False when it was cancelled.

        wanted: see Context.decode. Raises StatusError; the sequence is then empty.
        """
        if not self._add(lambda: self._context.decode(tokens, wanted)):
            return False
        self.tokens.extend(tokens)
        return True

    def append_one(self, token: int) -> bool:
        """Compute one more; see append()."""
        if not self._add(lambda: self._context.decode_one(token)):
            return False
        self.tokens.append(token)
        return True

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
        self._context.cut(0, -1)

    def _add(self, decode: Callable[[], bool]) -> bool:
        while True:
            try:
                added = decode()
            except NoRoomError:
                if not self._make_room():
                    raise
            except StatusError:
                self.clear()
                raise
            else:
                if not added:
                    self.cut(len(self.tokens))
                return added


class Sequences:
    """All sequences of one context."""

    def __init__(self, context: Context, kind: MemoryKind) -> None:
        self._context = context
        self._kind = kind
        self._answers = count(1)
        self._parked: list[Parked] = []
        self.current = CachedSequence(context, kind, self._drop_oldest)

    def begin(self, tokens: Sequence[int]) -> CachedSequence:
        """The current sequence, holding as much of this prompt as any did, but not its last token.

        Sequences that it leaves are parked.
        """
        current = self.current
        length = min(shared(current.tokens, tokens), len(tokens) - 1)
        parked = max(self._parked, key=lambda held: shared(held.tokens, tokens), default=None)
        if parked is not None and shared(parked.tokens, tokens) > length:
            length = min(shared(parked.tokens, tokens), len(tokens) - 1)
            self.park(keep=parked)
            self._resume(parked, length)
        elif length < len(current.tokens):
            self.park(keep=None)
        current.cut(length)
        current.used = next(self._answers)
        return current

    def park(self, keep: Parked | None = None) -> None:
        """Set the current sequence aside where models can branch; it still holds its tokens.

        keep: a parked sequence that must not make room for it.
        """
        if not self._kind.branches or not self.current.tokens:
            return
        if len(self._parked) == PARKED:
            self._drop(min((p for p in self._parked if p is not keep), key=lambda p: p.used))
        taken = {parked.number for parked in self._parked}
        number = next(number for number in count(1) if number not in taken)
        current = self.current
        self._context.copy(0, number, len(current.tokens))
        self._parked.append(Parked(number, current.tokens.copy(), current.parts, current.used))

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


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning; compares slices, which costs no Python for each token."""
    least, most = 0, min(len(first), len(second))
    while least < most:
        middle = (least + most + 1) // 2
        if first[least:middle] == second[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
