"""Conversations to files and back."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.chat.commands.attaching import path_of
from edgellm.apps.chat.commands.chats import go_to
from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.conversations.portable import export_json, export_markdown, read_portable
from edgellm.apps.chat.dialogs.picker import confirm
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.chat.widgets import figures
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

_WRITERS = {".md": export_markdown, ".json": export_json}


async def export(chat: "ChatScreen", argument: str) -> None:
    """Write the open conversation; the file's ending says in which form."""
    import asyncio

    if not chat.desk.is_stored:
        raise UsageError("this conversation has nothing in it yet")
    typed = argument or await chat.ask(
        LineDialog(
            "Export this conversation",
            str(Path.cwd() / f"{file_name(chat.desk.title)}.md"),
            note=".md holds the path that is shown, for people; .json holds every branch.",
            check=_check,
        )
    )
    if not typed:
        return
    _check(typed)
    path = path_of(typed)
    asked = confirm("Replace this file?", f"{path} is there already.", "Yes, replace it")
    if path.exists() and not await chat.ask(asked):
        return
    await asyncio.to_thread(_WRITERS[path.suffix.lower()], chat.desk.conversation, path)
    chat.tell(f"Written to {path}")


async def import_one(chat: "ChatScreen", argument: str) -> None:
    """Read an exported file as a conversation of its own, and open it."""
    import asyncio

    typed = argument or await chat.ask(
        LineDialog("Import a conversation", placeholder="an exported .md or .json file")
    )
    if not typed:
        return
    read = await asyncio.to_thread(read_portable, path_of(typed))
    stored = await chat.desk.archive.do(catalog.add, read)
    await go_to(chat, stored.id)
    chat.tell(f"Imported {figures.counted(len(stored.turns), 'turn')}.")


def file_name(title: str) -> str:
    """A name for a file, made from a title."""
    return re.sub(r"[^\w.-]+", "-", title).strip("-._")[:60] or "conversation"


def _check(typed: str) -> None:
    path = path_of(typed)
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"{path.name}: expected a name that ends in .md or .json")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder")
