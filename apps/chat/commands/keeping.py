"""Keeping what the model has read of a conversation, and giving it back when it is opened."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from edgellm.apps.chat.working import begin
from edgellm.errors import EdgeLLMError, InputError, OutputError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

REST_S = 3.0  # after an answer before its state is kept: another question may come
# More than that is written when one leaves the conversation only.
KEPT_AT_REST_BYTES = 256 << 20


def keep_soon(chat: "ChatScreen") -> None:
    """Keep the state once nothing has been asked for a while."""
    begin(chat, _keep_at_rest, chat, group="state", exclusive=True)


async def _keep_at_rest(chat: "ChatScreen") -> None:
    await asyncio.sleep(REST_S)
    memory, used = chat.engine.memory, chat.showing.used_tokens
    if memory is None or used is None or not chat.engine.is_ready:
        return
    kept_bytes = memory.kv_cache_bytes * used // chat.engine.model.info.context
    if kept_bytes <= KEPT_AT_REST_BYTES:
        await keep_state(chat)


async def keep_state(chat: "ChatScreen") -> None:
    """Write the state of the open conversation; what goes wrong only costs reading it again."""
    desk, engine = chat.desk, chat.engine
    if not desk.is_stored or not engine.is_ready or chat.talk.is_busy:
        return
    path = desk.shelf.path(desk.conversation.uid, engine.reference)
    with suppress(EdgeLLMError):
        if await engine.save(desk.messages, path):
            desk.shelf.prune()


async def take_up(chat: "ChatScreen") -> None:
    """Give the model back what it had read of the open conversation, and count its tokens."""
    if chat.engine.is_ready and chat.desk.conversation.turns:
        await _restore(chat)
    await recount(chat)


async def recount(chat: "ChatScreen") -> None:
    """Find out how much of the context the conversation takes, and show it."""
    desk, engine = chat.desk, chat.engine
    chat.showing.used_tokens = None
    if engine.is_ready and not chat.talk.is_busy:
        with suppress(InputError):  # a template that refuses this, or none at all
            chat.showing.used_tokens = await engine.count(desk.messages) if desk.messages else 0
    chat.showing.refresh()


async def _restore(chat: "ChatScreen") -> None:
    desk, engine = chat.desk, chat.engine
    path = desk.shelf.path(desk.conversation.uid, engine.reference)
    if not path.exists():
        return
    restored = await engine.restore(path)
    if not restored.tokens:
        with suppress(OutputError):
            desk.shelf.forget(desk.conversation.uid)
        chat.note(f"{restored.reason or 'its saved state was refused'}")
