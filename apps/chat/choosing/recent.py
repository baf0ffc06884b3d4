"""The models that were used last and are not in the store: files, checkpoints, Hub names."""

import json

from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.conversations.database import Database

RECENT_MODELS = "recent models"  # remembered under this name, newest first, as a JSON list
MOST = 8


def list_recent(database: Database) -> list[str]:
    """References, newest first."""
    try:
        kept: object = json.loads(remembered.recall(database, RECENT_MODELS) or "[]")
    except ValueError:
        return []
    texts = kept if isinstance(kept, list) else []
    return [text for text in texts if isinstance(text, str) and text][:MOST]


def note_recent(database: Database, reference: str) -> None:
    """Put a reference in front; the oldest leaves where there are too many."""
    others = [other for other in list_recent(database) if other != reference]
    kept = json.dumps([reference, *others][:MOST], ensure_ascii=False)
    remembered.remember(database, RECENT_MODELS, kept)
