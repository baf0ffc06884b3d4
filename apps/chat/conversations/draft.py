"""An answer while it is written: its finished sentences are saved as they come."""

import asyncio
from collections import deque
from collections.abc import Callable

from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.records import Figures
from edgellm.apps.chat.conversations.sentences import SentenceCutter
from edgellm.apps.chat.conversations.turns import append_piece, drop_answer, finish_answer
from edgellm.errors import EdgeLLMError


class Draft:
    """Keeps one unfinished turn, which `begin_answer` has made.

    A program that is killed loses at most the sentence that was unfinished, and what came while
    the last save was on its way to the disk. Belongs to the thread of the event loop.
    """

    def __init__(
        self, archive: Archive, turn: int, on_failure: Callable[[EdgeLLMError], None]
    ) -> None:
        """on_failure: hears the first save that fails; the answer goes on, and so do the saves."""
        self._archive = archive
        self._turn = turn
        self._on_failure = on_failure
        self._content, self._reasoning = SentenceCutter(), SentenceCutter()
        self._waiting: list[tuple[str, str]] = []  # content and reasoning to be saved
        self._finished = 0  # characters of content in finished sentences
        self._unsaved_ends: deque[int] = deque()  # where those end that are not saved yet
        self._saving: asyncio.Task[None] | None = None
        self._failed = False

    def feed(self, text: str, reasoning: str = "") -> None:
        """Take new text of the answer, or of what the model thinks before it; never waits."""
        thought = self._reasoning.feed(reasoning)
        if text:  # the thought is over, whether or not its last sentence is
            thought += self._reasoning.flush()
        said = self._content.feed(text)
        if said or thought:
            self._finished += len(said)
            self._unsaved_ends.append(self._finished)
            self._waiting.append((said, thought))
            self._save()

    @property
    def showable(self) -> int | None:
        """How many characters of content may be shown so that a kill loses one sentence at most.

        That is up to the end of the first sentence that is not saved yet; None for all there are,
        also where saving fails, as nothing would come of waiting then.
        """
        return self._unsaved_ends[0] if self._unsaved_ends and not self._failed else None

    async def settle(self) -> None:
        """Return once every finished sentence is saved, or could not be."""
        while self._saving is not None:
            await asyncio.shield(self._saving)

    async def finish(
        self, content: str, reasoning: str, ending: str, figures: Figures | None = None
    ) -> None:
        """Save the whole answer in place of its sentences. Raises EdgeLLMError when that fails.

        Then what was saved before is still there, and `finish` may be tried again.
        """
        await self.settle()
        await self._archive.do(finish_answer, self._turn, content, reasoning, ending, figures)

    async def drop(self) -> bool:
        """Take out the turn, of which nothing was said; see `drop_answer`."""
        await self.settle()
        return await self._archive.do(drop_answer, self._turn)

    def _save(self) -> None:
        if self._saving is None:
            self._saving = asyncio.create_task(self._save_waiting())

    async def _save_waiting(self) -> None:
        """One save at a time; what came meanwhile goes with the next."""
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                content, reasoning = map("".join, zip(*waiting, strict=True))
                try:
                    await self._archive.do(append_piece, self._turn, content, reasoning)
                    for _ in waiting:
                        self._unsaved_ends.popleft()
                except EdgeLLMError as error:
                    self._waiting = [*waiting, *self._waiting]  # to go with the next sentence
                    self._tell(error)
                    return
        finally:
            self._saving = None

    def _tell(self, error: EdgeLLMError) -> None:
        if not self._failed:
            self._failed = True
            self._on_failure(error)
