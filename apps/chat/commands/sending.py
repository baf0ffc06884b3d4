"""What Enter does: a command, an edit, or a question with its answer."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgellm.apps.chat.answering.engine import State
from edgellm.apps.chat.commands.table import BY_NAME
from edgellm.apps.chat.conversations.records import Turn
from edgellm.apps.chat.items import finish_item, item_of
from edgellm.apps.chat.talk import Ended
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.errors import EdgeLLMError, RuntimeFailure, UsageError

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
    try:
        with asking(chat):
            turn = await _keep_question(chat, text)
            ended = await answer(chat, turn.id)
    except Busy as busy:
        chat.prompt.give_back(text)
        chat.tell(str(busy), "warning")
        return
    await settle(chat, ended)


class Busy(UsageError):
    """Another question is to be answered first."""


@contextmanager
def asking(chat: "ChatScreen") -> Iterator[None]:
    """One question at a time, from Enter to the end of its answer. Raises Busy."""
    if chat.talk.is_busy:
        raise Busy(f"an answer is under way; {chat.stop_key} stops it")
    if chat.is_asking:
        raise Busy(f"a question waits for the model already; {chat.stop_key} stops its load")
    chat.is_asking = True
    try:
        yield
    finally:
        chat.is_asking = False


async def _keep_question(chat: "ChatScreen", text: str) -> Turn:
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
    return turn


async def answer(chat: "ChatScreen", question: int) -> Ended | None:
    """Let the model answer the turn where the conversation stands, once there is a model.

    None where that does not come about, as somebody went elsewhere meanwhile.
    """
    conversation = chat.desk.conversation

    def is_open() -> bool:
        return chat.desk.conversation is conversation and conversation.head == question

    is_ready = await ready(chat)
    if not is_open():
        return None
    if not is_ready:
        chat.note("not answered yet; once there is a model, /regenerate answers it")
        return None
    ended = await _replied(chat, question)
    if not _died_before(ended):
        return ended
    chat.transcript.take_out(ended.begun)
    is_ready = await _loaded_again(chat)
    if not is_open():
        return None
    if not is_ready:
        return ended
    chat.note("the engine had ended by itself; it was loaded again")
    return await _replied(chat, question)


async def _replied(chat: "ChatScreen", question: int) -> Ended:
    chat.showing.wake()
    try:
        return await chat.talk.reply(question)
    finally:
        chat.showing.end()


def _died_before(ended: Ended) -> bool:
    """Whether the engine was gone before it was asked, so that asking again does no harm."""
    answer = ended.answer
    return isinstance(answer.error, RuntimeFailure) and answer.prefill is None and not answer.text


async def ready(chat: "ChatScreen") -> bool:
    """Wait for the model, load it again after a failure, or let one be chosen."""
    engine = chat.engine
    if not chat.begun.is_set():
        await chat.begun.wait()
    elif engine.state is State.FAILED and not engine.was_stopped:
        await _loaded_again(chat)
    elif not engine.is_ready and engine.state is not State.LOADING:
        from edgellm.apps.chat.commands.models import choose

        await choose(chat, "")
    return await engine.settled()


async def _loaded_again(chat: "ChatScreen") -> bool:
    from edgellm.apps.chat.commands.models import load

    return await load(chat, chat.engine.reference, chat.engine.changed_settings)


async def settle(chat: "ChatScreen", ended: Ended | None) -> None:
    """Show how an answer ended, and what follows from that."""
    if ended is None:
        return
    if ended.cut is not None:
        chat.show_conversation()
    elif ended.turn is None:
        chat.transcript.take_out(ended.begun)
    else:
        item = chat.transcript.item(ended.turn.id)
        if isinstance(item, TurnItem):
            finish_item(item, ended.turn)
            chat.transcript.changed(item.key)
    if ended.unkept is not None:
        chat.note(f"this answer is not kept whole: {ended.unkept}")
    for notice in ended.answer.notices:
        chat.note(notice)
    if ended.answer.error is not None and ended.answer.full is None:
        chat.note(f"{ended.answer.error}; /regenerate asks again")
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
