"""A conversation as JSON, with everything that is kept of it.

The document, schema_version 1; every field is required and no other allowed:

    schema_version  1
    title, system, model    texts, which may be empty
    settings        an object
    head            id of the turn where the conversation stands, or null
    turns           oldest first: {id, parent (id of an earlier turn, or null), role, content,
                    reasoning, attachments [{name, text}], ending, model, figures (an object of
                    Figures' fields, or null), created_ms}
    cuts            {turn (its id), summary}

Ids grow from turn to turn, and a parent comes before its children.
"""

import json

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.imported import (
    SCHEMA_VERSION,
    fault,
    read_ending,
    read_text,
    require_few_turns,
    require_version,
)
from edgellm.apps.chat.conversations.records import ROLES, Attachment, Cut, Figures, Settings, Turn
from edgellm.apps.chat.conversations.texts import has_halves
from edgellm.json_file import show
from edgellm.jsonfields import JsonObject

_MAX_SETTINGS = 1 << 16  # characters of JSON
_MAX_SETTINGS_DEPTH = 16


def to_json(conversation: Conversation) -> dict[str, object]:
    """The whole tree, with ids from 1."""
    ids = {turn_id: number for number, turn_id in enumerate(sorted(conversation.turns), 1)}
    return {
        "schema_version": SCHEMA_VERSION,
        "title": conversation.title,
        "system": conversation.system,
        "model": conversation.model,
        "settings": dict(conversation.settings),
        "head": ids.get(conversation.head or 0),
        "turns": [
            _turn_json(conversation.turns[old], new, ids.get(conversation.parent(old) or 0))
            for old, new in ids.items()
        ],
        "cuts": [
            {"turn": ids[old], "summary": cut.summary}
            for old, cut in sorted(conversation.cuts.items())
            if old in ids
        ],
    }


def _turn_json(turn: Turn, new: int, parent: int | None) -> dict[str, object]:
    attachments = [{"name": item.name, "text": item.text} for item in turn.attachments]
    return {
        "id": new,
        "parent": parent,
        "role": turn.role,
        "content": turn.content,
        "reasoning": turn.reasoning,
        "attachments": attachments,
        "ending": turn.ending,
        "model": turn.model,
        "figures": turn.figures.to_json() if turn.figures else None,
        "created_ms": turn.created_ms,
    }


def from_json(fields: JsonObject) -> Conversation:
    """A conversation that is not stored yet. Raises FormatError."""
    names = ("title", "system", "model", "settings", "head", "turns", "cuts")
    fields.only("schema_version", *names)
    require_version(fields)
    turns: dict[int, Turn] = {}
    rows = fields.children("turns")
    require_few_turns(fields.source, len(rows))
    for row in rows:
        turn = _read_turn(row, turns)
        turns[turn.id] = turn
    return Conversation(
        0,
        "",
        read_text(fields, "title"),
        read_text(fields, "system"),
        _read_settings(fields),
        read_text(fields, "model"),
        _read_turn_id(fields, "head", turns),
        turns,
        _read_cuts(fields, turns),
    )


def _read_turn(fields: JsonObject, earlier: dict[int, Turn]) -> Turn:
    fields.only(*Turn.__dataclass_fields__)
    role = fields.text("role")
    if role not in ROLES:
        raise fault(fields, "role", f"is {show(role, 40)}; expected one of {', '.join(ROLES)}")
    return Turn(
        _read_new_id(fields, earlier),
        _read_turn_id(fields, "parent", earlier),
        role,
        read_text(fields, "content"),
        read_text(fields, "reasoning"),
        tuple(map(_read_attachment, fields.children("attachments"))),
        read_ending(fields) if role == "assistant" else _read_no_ending(fields),
        read_text(fields, "model"),
        Figures.read(fields.child("figures")) if _is_there(fields, "figures") else None,
        fields.integer("created_ms"),
    )


def _read_new_id(fields: JsonObject, earlier: dict[int, Turn]) -> int:
    last = next(reversed(earlier), 0)
    turn_id = fields.integer("id", least=1)
    if turn_id <= last:
        raise fault(fields, "id", f"is {turn_id}; expected more than the {last} before it")
    return turn_id


def _read_turn_id(fields: JsonObject, key: str, known: dict[int, Turn]) -> int | None:
    """The id of one of the known turns, or null."""
    if not _is_there(fields, key):
        return None
    turn_id = fields.integer(key, least=1)
    if turn_id not in known:
        raise fault(fields, key, f"is {turn_id}; expected null or the id of an earlier turn")
    return turn_id


def _read_no_ending(fields: JsonObject) -> str:
    if ending := read_text(fields, "ending"):
        raise fault(fields, "ending", f"is {show(ending, 40)}; expected none for a user's turn")
    return ""


def _read_attachment(fields: JsonObject) -> Attachment:
    fields.only("name", "text")
    return Attachment(read_text(fields, "name"), read_text(fields, "text"))


def _read_cuts(fields: JsonObject, turns: dict[int, Turn]) -> dict[int, Cut]:
    cuts: dict[int, Cut] = {}
    for row in fields.children("cuts"):
        turn_id = _read_turn_id(row.only("turn", "summary"), "turn", turns)
        if turn_id is None or turn_id in cuts:
            raise fault(row, "turn", "is null or has a cut already; expected the id of a turn")
        cuts[turn_id] = Cut(turn_id, read_text(row, "summary"))
    return cuts


def _read_settings(fields: JsonObject) -> Settings:
    settings = fields.child("settings").values
    if _is_deep(settings, _MAX_SETTINGS_DEPTH):
        raise fault(fields, "settings", f"is nested deeper than {_MAX_SETTINGS_DEPTH} levels")
    try:
        text = json.dumps(settings, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise fault(fields, "settings", "holds a number that is not finite") from error
    if len(text) > _MAX_SETTINGS or has_halves(text):
        raise fault(fields, "settings", f"is longer than {_MAX_SETTINGS} characters, or no text")
    return settings


def _is_deep(value: object, levels: int) -> bool:
    """Whether the value has more levels of objects and lists than that."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(item, levels - 1) for item in inner)


def _is_there(fields: JsonObject, key: str) -> bool:
    """Whether a field that may be null is not; a missing one is refused when it is read."""
    return fields.has(key) or key not in fields.values
