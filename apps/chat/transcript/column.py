"""Items from top to bottom, and those of their lines that were asked for lately."""

from collections.abc import Sequence

from textual.strip import Strip

from edgellm.apps.chat.transcript.look import Look
from edgellm.apps.chat.transcript.rows import Rows
from edgellm.apps.chat.transcript.turns import Item

KEPT_ITEMS = 64  # laid out at a time; more are dropped once they are out of sight


class Column:
    """Owns the items and their lines; indices are those of `items`."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.rows = Rows()
        self.look: Look | None = None  # nothing is laid out without one
        self._width = 1  # of the lines, in cells
        self._laid: dict[int, Sequence[Strip]] = {}
        self._grown: int | None = None  # changed last: it may change again soon

    def wear(self, look: Look, width: int) -> None:
        """Lay out anew where one of the two is another."""
        if look != self.look or width != self._width:
            self.look, self._width = look, max(width, 1)
            self._drop_all()
            self.rows.reset([item.estimate(self._width) for item in self.items])

    def show(self, items: Sequence[Item]) -> None:
        self._drop_all()
        self.items = list(items)
        self.rows.reset([item.estimate(self._width) for item in items])

    def add(self, item: Item) -> None:
        self.items.append(item)
        self.rows.append(item.estimate(self._width))

    def take_out(self, index: int) -> None:
        """Its neighbours keep what was laid out of them."""
        del self.items[index]
        self.rows.take_out(index)
        self._laid.pop(index, None)
        self._laid = {at - (at > index): lines for at, lines in self._laid.items()}
        self._grown = None

    def change(self, index: int) -> tuple[Sequence[Strip] | None, Sequence[Strip]]:
        """Lay out an item again. The lines it had, where those are kept, and those it has."""
        before = self._laid.pop(index, None)
        self._grown = index
        self.rows.measure(index, len(self.lines(index)))
        return before, self.lines(index)

    def index(self, key: int) -> int | None:
        """Found from the end, where what changes is."""
        for index in range(len(self.items) - 1, -1, -1):
            if self.items[index].key == key:
                return index
        return None

    def lines(self, index: int) -> Sequence[Strip]:
        if index not in self._laid:
            assert self.look is not None, "nothing is laid out without a look"
            self._laid[index] = self.items[index].lines(self.look, self._width)
        return self._laid[index]

    def height(self, index: int) -> int:
        """In lines, as it really is."""
        if not self.rows.is_measured(index):
            self.rows.measure(index, len(self.lines(index)))
        return self.rows.height(index)

    def drop_unseen(self, first: int, last: int) -> None:
        """Forget lines once there are many; those of these items and their neighbours stay."""
        if len(self._laid) > KEPT_ITEMS:
            self._drop([at for at in self._laid if not first - 2 <= at <= last + 2])

    def _drop_all(self) -> None:
        self._grown = None
        self._drop(list(self._laid))

    def _drop(self, indices: Sequence[int]) -> None:
        for index in indices:
            if index != self._grown:
                del self._laid[index]
                self.items[index].forget()
