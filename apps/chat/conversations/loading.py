"""Reading a conversation with everything in it."""

from collections import defaultdict
from collections.abc import Iterable

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.database import Database, Row
from edgellm.apps.chat.conversations.faults import damaged
from edgellm.apps.chat.conversations.records import (
    ENDINGS,
    ROLES,
    Attachment,
    Cut,
    Figures,
    Turn,
)
from edgellm.apps.chat.conversations.turns import gone
from edgellm.json_file import parse_json
from edgellm.jsonfields import JsonObject

_CONVERSATION = "SELECT uid, title, system, settings, model, head FROM conversations WHERE id = ?"
_CONVERSATION_KINDS = (str, str, str, str, str, int | None)
_TURNS = """SELECT id, parent, role, content, reasoning, ending, model, figures, created_ms
    FROM turns WHERE conversation = ? ORDER BY id"""
_TURN_KINDS = (int, int | None, str, str, str, str, str, str | None, int)
_ITS_TURNS = "turn IN (SELECT id FROM turns WHERE conversation = ?)"
_ATTACHMENTS = f"SELECT turn, name, text FROM attachments WHERE {_ITS_TURNS} ORDER BY turn, number"
_PIECES = f"SELECT turn, kind, text FROM pieces WHERE {_ITS_TURNS} ORDER BY turn, number"
_CUTS = f"SELECT turn, summary FROM cuts WHERE {_ITS_TURNS}"


def load(database: Database, conversation: int) -> Conversation:
    """A conversation with all its turns. Raises InputError when it is not there.

    A turn that is being written, by whichever program, has the sentences saved so far.
    """
    with database.reading():  # between two queries a turn could end, and its pieces go
        found = list(database.rows(_CONVERSATION_KINDS, _CONVERSATION, conversation))
        turns = list(database.rows(_TURN_KINDS, _TURNS, conversation))
        attachments = list(database.rows((int, str, str), _ATTACHMENTS, conversation))
        pieces = list(database.rows((int, str, str), _PIECES, conversation))
        cuts = list(database.rows((int, str), _CUTS, conversation))
    if not found:
        raise gone(database, conversation)
    uid, title, system, settings, model, head = found[0]
    return Conversation(
        conversation,
        uid,
        title,
        system,
        parse_json(settings.encode(), database.path),
        model,
        head,
        _Turns(database, attachments, pieces).read(turns),
        {turn: Cut(turn, summary) for turn, summary in cuts},
    )


class _Turns:
    """Puts turns together from the rows of several tables."""

    def __init__(
        self, database: Database, attachments: Iterable[Row], pieces: Iterable[Row]
    ) -> None:
        self._path = database.path
        self._attachments: defaultdict[int, list[Attachment]] = defaultdict(list)
        for turn, name, text in attachments:
            self._attachments[turn].append(Attachment(name, text))
        self._pieces: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for turn, kind, text in pieces:
            self._pieces[turn, kind].append(text)

    def read(self, rows: Iterable[Row]) -> dict[int, Turn]:
        return {row[0]: self._turn(*row) for row in rows}

    def _turn(
        self,
        turn: int,
        parent: int | None,
        role: str,
        content: str,
        reasoning: str,
        ending: str,
        model: str,
        figures: str | None,
        created_ms: int,
    ) -> Turn:
        if role not in ROLES or (ending not in ENDINGS if role == "assistant" else ending):
            raise damaged(self._path, f"turn {turn} has a role or an ending that is none")
        return Turn(
            turn,
            parent,
            role,
            self._with_pieces(content, turn, "content"),
            self._with_pieces(reasoning, turn, "reasoning"),
            tuple(self._attachments.get(turn, ())),
            ending,
            model,
            self._figures(turn, figures),
            created_ms,
        )

    def _with_pieces(self, text: str, turn: int, kind: str) -> str:
        pieces = self._pieces.get((turn, kind))
        return text + "".join(pieces) if pieces else text

    def _figures(self, turn: int, text: str | None) -> Figures | None:
        if text is None:
            return None
        place = f"figures of turn {turn}"
        values = parse_json(text.encode(), self._path)
        return Figures.read(JsonObject.at(str(self._path), place, values))
