"""Small things kept beside the conversations: presets, choices, what the user typed before."""

from contextlib import closing

from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.conversations.records import Preset

_SAID = "SELECT content FROM turns WHERE role = 'user' ORDER BY id DESC LIMIT ?"
_SAID_PER_TEXT = 20  # turns looked at for each text wanted; a text may repeat that often


def list_presets(database: Database) -> list[Preset]:
    """System prompts that the user has saved, by name."""
    rows = database.rows((str, str), "SELECT name, text FROM presets ORDER BY name")
    return [Preset(name, text) for name, text in rows]


def save_preset(database: Database, preset: Preset) -> None:
    """In place of one of the same name."""
    database.change("INSERT OR REPLACE INTO presets VALUES (?, ?)", preset.name, preset.text)


def delete_preset(database: Database, name: str) -> None:
    """No error where there is none."""
    database.change("DELETE FROM presets WHERE name = ?", name)


def remember(database: Database, name: str, text: str) -> None:
    """Keep a text under a name, such as the theme or the last model."""
    database.change("INSERT OR REPLACE INTO remembered VALUES (?, ?)", name, text)


def recall(database: Database, name: str) -> str | None:
    """The text kept under a name."""
    texts = list(database.rows((str,), "SELECT text FROM remembered WHERE name = ?", name))
    return str(texts[0][0]) if texts else None


def list_said(database: Database, limit: int = 200) -> list[str]:
    """The user's texts without repetitions, newest first."""
    found: dict[str, None] = {}
    with closing(database.rows((str,), _SAID, limit * _SAID_PER_TEXT)) as rows:
        for (text,) in rows:
            found.setdefault(text)
            if len(found) == limit:
                break
    return list(found)
