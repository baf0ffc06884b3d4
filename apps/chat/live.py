"""An answer on its way from what was heard to the transcript."""

from time import perf_counter

from edgellm.apps.chat.talk import Talk
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.apps.chat.transcript.view import Transcript
from edgellm.apps.terminal_text import harmless

# An answer's lines may take so much of the time: the rest is for keys.
LAYOUT_SHARE = 0.25


class LiveAnswer:
    """Moves what was heard into an item, as often as that leaves time for everything else."""

    def __init__(self, item: TurnItem, talk: Talk, transcript: Transcript) -> None:
        self._item = item
        self._talk = talk
        self._transcript = transcript
        self._held = ""  # heard, but not to be shown before more is kept
        self._shown = 0  # characters
        self._next_s = 0.0

    def show_when_due(self) -> None:
        """Show what came, unless that was done a moment ago."""
        now_s = perf_counter()
        if now_s < self._next_s:
            return
        self.show()
        self._next_s = now_s + (perf_counter() - now_s) / LAYOUT_SHARE

    def show(self) -> None:
        """Show what came, up to what Talk.showable allows."""
        assert self._talk.answer is not None, "it is under way"
        text, thoughts = self._talk.answer.take_fresh()
        self._held += text
        limit = self._talk.showable
        ready = self._held if limit is None else self._held[: max(limit - self._shown, 0)]
        if ready or thoughts:
            self._held = self._held[len(ready) :]
            self._shown += len(ready)
            self._item.append(harmless(ready), harmless(thoughts))
            self._transcript.changed(self._item.key)
