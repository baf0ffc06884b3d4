"""Adding turns to a conversation; each function is one transaction.

Nothing is overwritten: an edit or another answer is a sibling. An answer begins as a turn that is
"unfinished". Its sentences are added as pieces, and when it ends its whole text takes their place.
A program that dies leaves the turn unfinished, with its pieces; a program that lives cannot be
told from one that died, and need not be, as only the writer ever ends the turn.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

from edgellm.apps.chat.conversations.database import Database, now_ms
from edgellm.apps.chat.conversations.indexing import index_turn, unindex_turn
from edgellm.apps.chat.conversations.records import (
    EDITED,
    ENDINGS,
    UNFINISHED,
    Attachment,
    Cut,
    Figures,
    Turn,
)
from edgellm.apps.chat.conversations.texts import whole
from edgellm.errors import InputError

_IS_UNFINISHED = f"id = ? AND ending = '{UNFINISHED}'"
_INSERT_TURN = (
    "INSERT INTO turns (conversation, parent, role, ending, model, created_ms, figures, content, "
    "reasoning) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_PIECE = f"""INSERT INTO pieces (turn, number, kind, text)
    SELECT id, (SELECT coalesce(max(number), 0) + 1 FROM pieces WHERE turn = id), ?, ?
    FROM turns WHERE {_IS_UNFINISHED}"""
_FINISH = f"""UPDATE turns SET content = ?, reasoning = ?, ending = ?, figures = ?
    WHERE {_IS_UNFINISHED}"""
_TOUCH = """UPDATE conversations SET updated_ms = ?
    WHERE id = (SELECT conversation FROM turns WHERE id = ?)"""


def add_user(
    database: Database,
    conversation: int,
    parent: int | None,
    content: str,
    attachments: Sequence[Attachment] = (),
) -> Turn:
    """What the user said after `parent`; the conversation stands at it then.

    Raises InputError when the conversation or the parent is not there any more.
    """
    said = Turn(0, parent, "user", content, attachments=tuple(attachments))
    return _add(database, conversation, said)


def begin_answer(database: Database, conversation: int, parent: int, model: str) -> Turn:
    """An answer without a word yet; see `append_piece`, `finish_answer` and `drop_answer`."""
    begun = Turn(0, parent, "assistant", "", ending=UNFINISHED, model=model)
    return _add(database, conversation, begun)


def add_edited(database: Database, conversation: int, answer: Turn, content: str) -> Turn:
    """The answer as a person would have it, in its place beside it."""
    edited = replace(answer, content=content, ending=EDITED, figures=None)
    return _add(database, conversation, edited)


def append_piece(database: Database, turn: int, content: str, reasoning: str = "") -> None:
    """Save more of an answer that is being written, in time that its length does not change."""
    with database.writing():
        for kind, text in (("reasoning", reasoning), ("content", content)):
            if text and not database.change(_INSERT_PIECE, kind, text, turn):
                raise _no_draft(database, turn)


def finish_answer(
    database: Database,
    turn: int,
    content: str,
    reasoning: str,
    ending: str,
    figures: Figures | None = None,
) -> None:
    """The whole answer, in place of its pieces. Raises InputError when the turn is gone."""
    assert ending in ENDINGS
    assert ending != UNFINISHED
    content = whole(content)
    with database.writing():
        _, _, before = _draft(database, turn)
        database.change(_FINISH, content, reasoning, ending, _figures_text(figures), turn)
        database.change("DELETE FROM pieces WHERE turn = ?", turn)
        unindex_turn(database, turn, before)
        index_turn(database, turn, content)
        database.change(_TOUCH, now_ms(), turn)


def drop_answer(database: Database, turn: int) -> bool:
    """Take out an answer of which nothing was said; the head goes back to its parent.

    False when another program has gone on from it meanwhile: then it stays.
    """
    with database.writing():
        conversation, parent, content = _draft(database, turn)
        following = "SELECT 1 FROM turns WHERE conversation = ? AND parent = ?"
        if list(database.rows((int,), following, conversation, turn)):
            return False
        unindex_turn(database, turn, content)
        at_turn = "UPDATE conversations SET head = ? WHERE id = ? AND head = ?"
        database.change(at_turn, parent, conversation, turn)
        database.change("DELETE FROM turns WHERE id = ?", turn)
        return True


def add_cut(database: Database, conversation: int, cut: Cut) -> None:
    """Send nothing up to and including a turn any more, in place of an earlier cut there."""
    with database.writing():
        require_turn(database, conversation, cut.turn)
        insert_cut(database, cut)


def remove_cut(database: Database, turn: int) -> None:
    """Send again what was cut off up to a turn; no error where there is no cut."""
    database.change("DELETE FROM cuts WHERE turn = ?", turn)


def require_turn(database: Database, conversation: int, turn: int) -> None:
    """Raise InputError unless the turn is one of the conversation's."""
    rows = database.rows(
        (int,), "SELECT 1 FROM turns WHERE id = ? AND conversation = ?", turn, conversation
    )
    if not list(rows):
        raise InputError(
            f"{database.path}: conversation {conversation} has no turn {turn}; another program may "
            "have deleted it"
        )


def insert_turn(database: Database, conversation: int, turn: Turn) -> Turn:
    """A turn with whatever it has; inside a transaction. Returns it with its id."""
    turn = _whole_turn(replace(turn, created_ms=turn.created_ms or now_ms()))
    turn_id = database.insert(
        _INSERT_TURN,
        conversation,
        turn.parent,
        turn.role,
        turn.ending,
        turn.model,
        turn.created_ms,
        _figures_text(turn.figures),
        turn.content,
        turn.reasoning,
    )
    for number, attachment in enumerate(turn.attachments):
        database.change(
            "INSERT INTO attachments (turn, number, name, text) VALUES (?, ?, ?, ?)",
            turn_id,
            number,
            attachment.name,
            attachment.text,
        )
    index_turn(database, turn_id, turn.content)
    return replace(turn, id=turn_id)


def _whole_turn(turn: Turn) -> Turn:
    """The turn as it will be when it is loaded."""
    return replace(
        turn,
        content=whole(turn.content),
        reasoning=whole(turn.reasoning),
        attachments=tuple(
            Attachment(whole(item.name), whole(item.text)) for item in turn.attachments
        ),
    )


def insert_cut(database: Database, cut: Cut) -> None:
    """Inside a transaction; the turn is there."""
    database.change("INSERT OR REPLACE INTO cuts VALUES (?, ?)", cut.turn, cut.summary)


def _add(database: Database, conversation: int, turn: Turn) -> Turn:
    """Insert a new turn and stand at it."""
    with database.writing():
        if turn.parent is not None:
            require_turn(database, conversation, turn.parent)
        now = now_ms()
        moved = "UPDATE conversations SET updated_ms = ? WHERE id = ?"
        if not database.change(moved, now, conversation):
            raise gone(database, conversation)
        added = insert_turn(database, conversation, replace(turn, created_ms=now))
        database.change("UPDATE conversations SET head = ? WHERE id = ?", added.id, conversation)
    return added


def gone(database: Database, conversation: int) -> InputError:
    """What to raise for a conversation that is not there."""
    return InputError(
        f"{database.path}: there is no conversation {conversation}; another program may have "
        "deleted it"
    )


def _draft(database: Database, turn: int) -> tuple[int, int | None, str]:
    """Conversation, parent and stored content of an unfinished turn."""
    statement = f"SELECT conversation, parent, content FROM turns WHERE {_IS_UNFINISHED}"
    for conversation, parent, content in list(
        database.rows((int, int | None, str), statement, turn)
    ):
        return conversation, parent, content
    raise _no_draft(database, turn)


def _no_draft(database: Database, turn: int) -> InputError:
    return InputError(
        f"{database.path}: no turn {turn} is being written; another program may have deleted it"
    )


def _figures_text(figures: Figures | None) -> str | None:
    return None if figures is None else json.dumps(figures.to_json())
