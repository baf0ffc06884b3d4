"""The conversation that is open, with what keeps it: every change is on the disk first."""

from dataclasses import replace

from edgellm.apps.chat.answering.prompts import messages_of
from edgellm.apps.chat.answering.settings import Settings
from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Attachment, Cut, Figures, Turn
from edgellm.apps.chat.conversations.states import StateShelf
from edgellm.runtimes.messages import Message

TITLE_CHARACTERS = 60


class Desk:
    """Owns the open conversation. One that was just begun is stored with its first turn.

    Everything raises InputError, OutputError or IntegrityError where the database does.
    """

    def __init__(self, archive: Archive, shelf: StateShelf) -> None:
        self.archive = archive
        self.shelf = shelf
        self.conversation = Conversation(0, "")
        self.settings = Settings()
        self.attachments: list[Attachment] = []  # that the next question takes along

    def start_new(self) -> None:
        """Begin another conversation, answered like this one."""
        kept = self.conversation
        self.conversation = Conversation(0, "", system=kept.system, settings=kept.settings)

    async def open(self, conversation: int) -> None:
        self.conversation = await self.archive.do(load, conversation)
        self.settings = Settings.read(self.conversation.settings)

    @property
    def is_stored(self) -> bool:
        return self.conversation.id != 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the model is sent."""
        return messages_of(self.conversation)

    @property
    def title(self) -> str:
        return self.conversation.title or "new conversation"

    async def add_user(self, text: str, model: str, *, parent: int | None) -> Turn:
        """What the user said after `parent`, with the attached files; stored when this returns."""
        await self._store(text, model)
        attached = tuple(self.attachments)
        turn = await self.archive.do(turns.add_user, self.conversation.id, parent, text, attached)
        self.attachments.clear()
        return self._put(turn)

    async def begin_answer(self, question: int, model: str) -> Turn:
        """A turn for the answer, which a Draft fills."""
        turn = await self.archive.do(turns.begin_answer, self.conversation.id, question, model)
        return self._put(turn)

    def ended(
        self, turn: Turn, content: str, reasoning: str, ending: str, figures: Figures | None
    ) -> Turn:
        """Note how an answer ended whose Draft was finished."""
        done = replace(turn, content=content, reasoning=reasoning, ending=ending, figures=figures)
        self.conversation.put(done)
        return done

    def dropped(self, turn: Turn) -> None:
        """Note that an answer was taken out of which nothing was said."""
        self.conversation.discard(turn.id)

    async def rewrite(self, answer: Turn, content: str) -> Turn:
        """An answer as a person would have it, beside it."""
        turn = await self.archive.do(turns.add_edited, self.conversation.id, answer, content)
        return self._put(turn)

    async def stand_at(self, turn: int | None) -> None:
        """Go on from another turn, or from before the first one."""
        await self.archive.do(catalog.set_head, self.conversation.id, turn)
        self.conversation.head = turn

    async def cut(self, cut: Cut) -> None:
        await self.archive.do(turns.add_cut, self.conversation.id, cut)
        self.conversation.cuts[cut.turn] = cut

    async def uncut(self, turn: int) -> None:
        await self.archive.do(turns.remove_cut, turn)
        self.conversation.cuts.pop(turn, None)

    async def change(self, *, system: str | None = None, settings: Settings | None = None) -> None:
        """Answer it otherwise from now on: at once, so that a question asked next is."""
        conversation = self.conversation
        if system is not None:
            conversation.system = system
        if settings is not None:
            conversation.settings, self.settings = settings.to_json(), settings
        if self.is_stored and system is not None:
            await self.archive.do(catalog.set_system, conversation.id, system)
        if self.is_stored and settings is not None:
            await self.archive.do(catalog.set_settings, conversation.id, settings.to_json())

    async def rename(self, title: str) -> None:
        await self.archive.do(catalog.rename, self.conversation.id, title)
        self.conversation.title = title

    async def fork(self) -> None:
        """Go on with a copy of the path that is shown."""
        copied = await self.archive.do(catalog.add, path_alone(self.conversation))
        await self.open(copied.id)

    async def delete(self) -> None:
        """Delete the open conversation and begin another."""
        uid = await self.archive.do(catalog.delete, self.conversation.id)
        self.shelf.forget(uid)
        self.start_new()

    async def _store(self, text: str, model: str) -> None:
        if self.is_stored:
            return
        begun = self.conversation
        title = title_of(text) or (self.attachments[0].name if self.attachments else "")
        self.conversation = await self.archive.do(
            catalog.create, title, begun.system, self.settings.to_json(), model
        )

    def _put(self, turn: Turn) -> Turn:
        self.conversation.put(turn)
        self.conversation.head = turn.id
        return turn


def path_alone(conversation: Conversation) -> Conversation:
    """A conversation that has only what this one shows, not stored yet."""
    path = conversation.path()
    parents = [None, *(turn.id for turn in path)]
    turns = {
        turn.id: replace(turn, parent=parent) for turn, parent in zip(path, parents, strict=False)
    }
    cuts = {turn: cut for turn, cut in conversation.cuts.items() if turn in turns}
    return replace(
        conversation, id=0, uid="", title=f"{conversation.title} (copy)", turns=turns, cuts=cuts
    )


def title_of(text: str) -> str:
    """A name for a conversation that begins with this text."""
    words = " ".join(text.split())
    if len(words) <= TITLE_CHARACTERS:
        return words
    return words[:TITLE_CHARACTERS].rsplit(" ", 1)[0] + " …"
