"""A guess that was not tried: seeing how far it would have been right takes no batch."""

from collections.abc import Sequence


class Watch:
    """Compares a draft with the tokens that come anyway."""

    def __init__(self, evidence: int, draft: Sequence[int]) -> None:
        self._evidence = evidence
        self._draft = draft
        self._right = 0

    def ends(self, tokens: Sequence[int]) -> bool:
        """Take the next tokens of the answer; True when the outcome is known."""
        for token in tokens:
            if token != self._draft[self._right]:
                return True
            self._right += 1
            if self._right == len(self._draft):
                return True
        return False

    @property
    def outcome(self) -> tuple[int, int, int]:
        """(class of evidence, tokens drafted, tokens that were right)."""
        return self._evidence, len(self._draft), self._right
