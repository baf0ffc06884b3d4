"""One conversation in memory: a tree of turns, of which one path is shown."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from edgellm.apps.chat.conversations.records import Cut, Settings, Turn


@dataclass(slots=True)
class Conversation:
    """A tree of turns, with the turn where the conversation stands.

    Editing and regenerating add siblings; nothing is ever overwritten. A turn is older than those
    that follow it. One whose parent is missing or not older, in a damaged file, is taken for a
    first turn, so that no walk can go in circles. A head that is not there is the newest turn.
    """

    id: int  # 0 before it is stored
    uid: str  # 32 hexadecimal digits, the same for ever; empty before it is stored
    title: str = ""
    system: str = ""
    settings: Settings = field(default_factory=dict)
    model: str = ""
    head: int | None = None  # last turn of the path; none before the first turn
    turns: dict[int, Turn] = field(default_factory=dict)
    cuts: dict[int, Cut] = field(default_factory=dict)  # by their turn
    _children: dict[int | None, list[int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._children = {}
        for turn_id in sorted(self.turns):
            self._children.setdefault(self.parent(turn_id), []).append(turn_id)
        if self.head is not None and self.head not in self.turns:
            self.head = max(self.turns, default=None)

    def put(self, turn: Turn) -> None:
        """Add a turn that is newer than all others, or replace one by its later state."""
        is_new = turn.id not in self.turns
        self.turns[turn.id] = turn
        if is_new:
            self._children.setdefault(self.parent(turn.id), []).append(turn.id)

    def discard(self, turn_id: int) -> None:
        """Take out a turn that nothing follows; the head goes back to its parent."""
        parent = self.parent(turn_id)
        self._children[parent].remove(turn_id)
        del self.turns[turn_id]
        self.cuts.pop(turn_id, None)
        if self.head == turn_id:
            self.head = parent

    def parent(self, turn_id: int) -> int | None:
        """The turn that this one follows."""
        parent = self.turns[turn_id].parent
        return parent if parent in self.turns and parent < turn_id else None

    def children(self, turn_id: int | None) -> tuple[int, ...]:
        """The turns that follow a turn, or the first turns, in order of creation."""
        return tuple(self._children.get(turn_id, ()))

    def siblings(self, turn_id: int) -> tuple[int, ...]:
        """The turn and those in its place, in order of creation."""
        return self.children(self.parent(turn_id))

    def latest_leaf(self, turn_id: int) -> int:
        """Where one gets to from a turn by its newest followers."""
        while following := self._children.get(turn_id):
            turn_id = following[-1]
        return turn_id

    def path(self) -> list[Turn]:
        """The turns from the first to the head."""
        return list(self._upwards())[::-1]

    def sent(self) -> tuple[str, list[Turn]]:
        """What the model is sent: the summary of what was cut off, and the turns after that."""
        turns: list[Turn] = []
        for turn in self._upwards():
            if cut := self.cuts.get(turn.id):
                return cut.summary, turns[::-1]
            turns.append(turn)
        return "", turns[::-1]

    def _upwards(self) -> Iterator[Turn]:
        turn_id = self.head
        while turn_id is not None:
            yield self.turns[turn_id]
            turn_id = self.parent(turn_id)
