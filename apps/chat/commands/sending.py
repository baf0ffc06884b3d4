"""What Enter does: a command, an edit, or a question with its answer."""

import difflib
from typing import TYPE_CHECKING

from edgellm.apps.chat.answering.engine import State
from edgellm.apps.chat.commands.table import BY_NAME
from edgellm.apps.chat.items import finish_item, item_of
from edgellm.apps.chat.talk import Ended
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.errors import EdgeLLMError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen


async def submit(chat: "ChatScreen", text: str) -> None:
    """Do what was written into the prompt."""
    if chat.editing is not None:
        from edgellm.apps.chat.commands.turns import finish_edit

        await finish_edit(chat, text)
    elif is_command(text):
        run_line(chat, text.strip())
    elif text.strip() or chat.desk.attachments:
        await send(chat, text.removeprefix("/") if text.startswith("//") else text)


def is_command(text: str) -> bool:
    """Whether a text is a slash command: paths and texts that begin with // are not."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return word.startswith("/") and word[1:].replace("-", "").isalpha()


def run_line(chat: "ChatScreen", line: str) -> None:
    """Do what a slash command says; what is no command stays in the prompt."""
    word, _, argument = line[1:].partition(" ")
    if word.lower() in BY_NAME:
        chat.act(word.lower(), argument.strip())
        return
    close = difflib.get_close_matches(word.lower(), BY_NAME, n=3)
    meant = f"; did you mean {' or '.join('/' + name for name in close)}?" if close else ""
    chat.prompt.give_back(line)
    chat.tell(f"There is no command /{word}{meant} As text: begin with //", "warning")


async def send(chat: "ChatScreen", text: str) -> None:
    """Keep a question, then answer it."""
    if chat.talk.is_busy:
        chat.prompt.give_back(text)
        chat.tell("An answer is under way; Esc stops it.", "warning")
        return
    conversation = chat.desk.conversation
    has_later = bool(conversation.children(conversation.head))
    try:
        turn = await chat.desk.add_user(text, chat.engine.name, parent=conversation.head)
    except EdgeLLMError:
        chat.prompt.give_back(text)  # what could not be kept is not lost either
        raise
    if has_later or len(chat.desk.conversation.turns) == 1:
        chat.show_conversation()
    else:
        chat.transcript.add(item_of(chat.desk.conversation, turn))
    chat.transcript.follow_end()
    chat.showing.refresh()
    await answer(chat, turn.id)


async def answer(chat: "ChatScreen", question: int) -> None:
    """Let the model answer a turn, as soon as there is a model."""
    if not await ready(chat):
        return
    chat.showing.wake()
    try:
        ended = await chat.talk.reply(question)
    finally:
        chat.showing.end()
    await settle(chat, ended)


async def ready(chat: "ChatScreen") -> bool:
    """Wait for the model, load it again after a failure, or let one be chosen."""
    engine = chat.engine
    if await engine.settled():
        return True
    if engine.state is State.FAILED and not engine.was_stopped:
        from edgellm.apps.chat.commands.models import load

        return await load(chat, engine.reference, engine.changed_settings)
    from edgellm.apps.chat.commands.models import choose

    await choose(chat, "")
    return engine.is_ready


async def settle(chat: "ChatScreen", ended: Ended) -> None:
    """Show how an answer ended, and what follows from that."""
    if ended.cut is not None:
        chat.show_conversation()
    elif ended.turn is None:
        chat.transcript.take_out(ended.begun)
    else:
        item = chat.transcript.item(ended.turn.id)
        if isinstance(item, TurnItem):
            finish_item(item, ended.turn)
            chat.transcript.changed(item.key)
    for notice in ended.answer.notices:
        chat.note(notice)
    if ended.answer.error is not None and ended.answer.full is None:
        chat.note(str(ended.answer.error))
    if ended.turn is None and ended.answer.error is None:
        chat.note("stopped before the first word; /regenerate answers it")
    chat.showing.refresh()
    await chat.showing.refresh_chats()
    if ended.answer.full is not None:
        from edgellm.apps.chat.commands.context import offer_room

        await offer_room(chat, ended)
    else:
        from edgellm.apps.chat.commands.keeping import keep_soon

        keep_soon(chat)
