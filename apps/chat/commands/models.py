"""Choosing, loading and making models."""

from typing import TYPE_CHECKING

from edgellm.apps.chat.choosing.recent import list_recent, note_recent
from edgellm.apps.chat.choosing.references import is_stored, reference_of
from edgellm.apps.chat.commands.keeping import keep_state, take_up
from edgellm.apps.chat.conversations import catalog, remembered
from edgellm.apps.cli.settings import home
from edgellm.apps.launching import LoadSettings
from edgellm.errors import UsageError
from edgellm.store import Store

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

LAST_MODEL = "model"  # remembered under this name


async def load_first(chat: "ChatScreen", reference: str | None) -> None:
    """Load the first model, or let it be chosen; questions wait for that."""
    try:
        if reference:
            await load(chat, reference)
        else:
            await choose(chat, "")
    finally:
        chat.begun.set()
        chat.showing.refresh()


async def load(chat: "ChatScreen", reference: str, changed: LoadSettings | None = None) -> bool:
    """Load a model in place of the one there is; whether that went well.

    Where it did not, the one there was comes back.
    """
    engine = chat.engine
    before = (engine.reference, engine.changed_settings) if engine.is_ready else None
    await chat.talk.stopped()
    await keep_state(chat)
    if await _load(chat, reference, changed):
        return True
    if before is not None and not engine.was_stopped:  # else it is said all the time
        chat.tell(str(engine.error), "error")
    if before is not None and before != (reference, changed):
        await _load(chat, *before)
    return False


async def _load(chat: "ChatScreen", reference: str, changed: LoadSettings | None) -> bool:
    chat.showing.forget()
    chat.showing.wake()
    is_loaded = await chat.engine.load(reference, changed)
    chat.showing.refresh()
    if not is_loaded:
        return False
    for notice in chat.engine.notices:
        chat.note(notice)
    if chat.engine.model.info.chat_template is None:
        chat.note("this model knows no conversations: it goes on with the text as it stands")
    await _remember(chat, reference)
    if chat.desk.is_stored:
        await chat.desk.archive.do(catalog.set_model, chat.desk.conversation.id, chat.engine.name)
    await take_up(chat)
    return True


async def _remember(chat: "ChatScreen", reference: str) -> None:
    """Keep which model this was, so that it is found again from any folder."""
    lasting = reference_of(reference)
    await chat.desk.archive.do(remembered.remember, LAST_MODEL, lasting)
    if not is_stored(Store(home()), lasting):
        await chat.desk.archive.do(note_recent, lasting)


async def choose(chat: "ChatScreen", argument: str) -> None:
    """Load the model of that name, or one chosen from the store; the conversation stays."""
    from edgellm.apps.chat.dialogs.models import CONVERT, ModelDialog

    store, recent = Store(home()), await chat.desk.archive.do(list_recent)
    reference = reference_of(argument) or await chat.ask(ModelDialog(chat.engine, store, recent))
    if reference == CONVERT:
        await convert(chat, "")
    elif reference:
        await load(chat, reference)


async def convert(chat: "ChatScreen", argument: str) -> None:
    """Make a model from a checkpoint, then load it."""
    from edgellm.apps.chat.dialogs.converting import ConvertDialog

    dialog = ConvertDialog(reference_of(argument), chat.engine, Store(home()))
    reference = await chat.ask(dialog)
    if reference:
        await load(chat, reference)


async def reload(chat: "ChatScreen", argument: str) -> None:
    if not chat.engine.reference:
        raise UsageError("no model was loaded yet; /model chooses one")
    await load(chat, chat.engine.reference, chat.engine.changed_settings)
