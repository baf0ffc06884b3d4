"""The list of conversations: making, listing, changing and deleting them."""

import json
import uuid
from contextlib import suppress
from dataclasses import replace

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.database import Database, Value, now_ms
from edgellm.apps.chat.conversations.indexing import merge_index, unindex_conversation
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Cut, Listed, Settings
from edgellm.apps.chat.conversations.texts import beginning
from edgellm.apps.chat.conversations.turns import gone, insert_cut, insert_turn, require_turn
from edgellm.errors import OutputError

_EXCERPT = 120  # characters

_LIST = f"""SELECT id, uid, title, model, updated_ms,
    (SELECT count(*) FROM turns WHERE conversation = conversations.id),
    (SELECT substr(content, 1, {4 * _EXCERPT}) FROM turns
        WHERE conversation = conversations.id AND role = 'user' ORDER BY id DESC LIMIT 1)
    FROM conversations ORDER BY updated_ms DESC, id DESC LIMIT ? OFFSET ?"""
_LIST_KINDS = (int, str, str, str, int, int, str | None)


def create(
    database: Database,
    title: str = "",
    system: str = "",
    settings: Settings | None = None,
    model: str = "",
) -> Conversation:
    """A new conversation without turns."""
    return add(database, Conversation(0, "", title, system, settings or {}, model))


def add(database: Database, conversation: Conversation) -> Conversation:
    """Store a whole conversation, such as an imported one, as a new one with ids of its own."""
    with database.writing():
        key = _insert(database, conversation)
        ids: dict[int | None, int | None] = {None: None}
        for old in sorted(conversation.turns):
            parent = ids[conversation.parent(old)]
            turn = replace(conversation.turns[old], parent=parent)
            ids[old] = insert_turn(database, key, turn).id
        for old, cut in conversation.cuts.items():
            if new := ids.get(old):
                insert_cut(database, Cut(new, cut.summary))
        _set(database, key, "head", ids[conversation.head])
    return load(database, key)


def list_newest(database: Database, limit: int = 50, offset: int = 0) -> list[Listed]:
    """Conversations by the time of their last turn, newest first."""
    return [
        Listed(key, uid, title, model, turns, updated_ms, beginning(said or "", _EXCERPT))
        for key, uid, title, model, updated_ms, turns, said in database.rows(
            _LIST_KINDS, _LIST, limit, offset
        )
    ]


def rename(database: Database, conversation: int, title: str) -> None:
    """Raises InputError when the conversation is not there, as all that follow do."""
    _set(database, conversation, "title", title)


def set_system(database: Database, conversation: int, system: str) -> None:
    _set(database, conversation, "system", system)


def set_settings(database: Database, conversation: int, settings: Settings) -> None:
    """settings: whatever JSON can hold."""
    _set(database, conversation, "settings", json.dumps(settings, allow_nan=False))


def set_model(database: Database, conversation: int, model: str) -> None:
    _set(database, conversation, "model", model)


def set_head(database: Database, conversation: int, turn: int | None) -> None:
    """Stand at another turn of the conversation, or before the first one."""
    with database.writing():
        if turn is not None:
            require_turn(database, conversation, turn)
        _set(database, conversation, "head", turn)


def delete(database: Database, conversation: int) -> str:
    """Delete a conversation with its turns; returns its uid, for what else is kept of it.

    Nothing of its texts is left in the files, unless another program reads them just then or the
    disk is full.
    """
    with database.writing():
        uids = list(
            database.rows((str,), "SELECT uid FROM conversations WHERE id = ?", conversation)
        )
        if not uids:
            raise gone(database, conversation)
        unindex_conversation(database, conversation)
        database.change("DELETE FROM conversations WHERE id = ?", conversation)
    with suppress(OutputError):  # deleted it is; the next deletion tidies up for both
        merge_index(database)
        database.forget_deleted()
    return str(uids[0][0])


def _insert(database: Database, conversation: Conversation) -> int:
    """Its row, without turns and head."""
    now = now_ms()
    return database.insert(
        "INSERT INTO conversations (uid, title, system, settings, model, created_ms, updated_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        uuid.uuid4().hex,
        conversation.title,
        conversation.system,
        json.dumps(conversation.settings, allow_nan=False),
        conversation.model,
        now,
        now,
    )


def _set(database: Database, conversation: int, column: str, value: Value) -> None:
    statement = f"UPDATE conversations SET {column} = ? WHERE id = ?"
    if not database.change(statement, value, conversation):
        raise gone(database, conversation)
