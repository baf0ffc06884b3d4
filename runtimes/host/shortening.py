"""Fitting a conversation into the context by leaving out its oldest turns, never silently.

A turn is a user message with all that follows it up to the next one, so that a tool's result never
loses its call and templates that want roles to alternate still get them so. What stands before the
first user message, except system messages, belongs to the first turn. The last turn stays.
"""

from collections.abc import Callable, Sequence

from edgellm.events import ContextTrimmed
from edgellm.runtimes.messages import Message

_MARKUP_TOKENS = 4  # that a template puts around a message, at least
_ROOM_SHARE = 4  # one over the share of the context that is kept free for an answer
_SYSTEM_ROLES = ("system", "developer")


class Shortening:
    """Owns what is left of one conversation while it is answered."""

    def __init__(
        self,
        messages: Sequence[Message],
        dropped: int,
        *,
        render: Callable[[Sequence[Message]], str],
        count: Callable[[str], int],
        limit: int,
    ) -> None:
        """dropped: messages after the system's that earlier answers had to leave out.

        render: a conversation's prompt. count: tokens of a text. limit: those of the context.
        """
        self._system, self._turns = split(messages)
        self._render = render
        self._count = count
        self._limit = limit
        self._unreported = 0  # messages dropped that no event has told of
        gone = 0
        while len(self._turns) > 1 and gone + len(self._turns[0]) <= dropped:
            gone += len(self._turns.pop(0))
        self.prompt = self._rendered()

    def fit(self, max_tokens: int | None) -> ContextTrimmed | None:
        """Make room for the prompt and an answer, as far as that goes; says what was dropped."""
        room = min(max_tokens or self._limit, self._limit // _ROOM_SHARE)
        if len(self.prompt.encode()) + room < self._limit:  # a token takes a byte at least
            return None
        before = used = self._count(self.prompt)
        while used + room > self._limit and len(self._turns) > 1:
            self._drop(used + room - self._limit)
            used = self._count(self.prompt)
        if used == before:
            return None
        return ContextTrimmed(self.reported(), before - used, used, self._limit)

    def shorter(self) -> str | None:
        """The prompt without some more of its oldest turns; None when only the last is left."""
        if len(self._turns) <= 1:
            return None
        self._drop(self._limit // _ROOM_SHARE)
        return self.prompt

    def reported(self) -> int:
        """Messages dropped since this was last asked."""
        count, self._unreported = self._unreported, 0
        return count

    def _drop(self, tokens: int) -> None:
        """Drop at least one turn, and as many as hold about so many tokens."""
        while tokens > 0 and len(self._turns) > 1:
            turn = self._turns.pop(0)
            self._unreported += len(turn)
            tokens -= sum(self._count(m.content) + _MARKUP_TOKENS for m in turn)
        self.prompt = self._rendered()

    def _rendered(self) -> str:
        return self._render([*self._system, *(m for turn in self._turns for m in turn)])


def split(messages: Sequence[Message]) -> tuple[list[Message], list[list[Message]]]:
    """(system messages at the beginning, turns)."""
    system: list[Message] = []
    turns: list[list[Message]] = []
    seen_user = False
    for message in messages:
        if not turns and message.role in _SYSTEM_ROLES:
            system.append(message)
            continue
        if not turns or (message.role == "user" and seen_user):
            turns.append([])
        turns[-1].append(message)
        seen_user = seen_user or message.role == "user"
    return system, turns
