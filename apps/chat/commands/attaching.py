"""Attaching text files to the next question."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.chat.answering.prompts import user_text
from edgellm.apps.chat.conversations.records import Attachment
from edgellm.apps.chat.dialogs.picker import confirm
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.chat.widgets import figures
from edgellm.errors import InputError, UsageError
from edgellm.json_file import file_bytes, os_reason
from edgellm.units import format_bytes

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

MOST_BYTES = 8 << 20  # more tokens than any context holds


async def attach(chat: "ChatScreen", argument: str) -> None:
    """Read a file, say how many tokens it takes, and take it along after a yes."""
    import asyncio

    typed = argument or await chat.ask(
        LineDialog("Attach a text file", placeholder="path of the file", check=_check)
    )
    if not typed:
        return
    attachment = await asyncio.to_thread(read_attachment, path_of(typed))
    note = await _cost(chat, attachment)
    if await chat.ask(confirm(f"Attach {attachment.name}?", note, "Yes, attach it", "No")):
        chat.desk.attachments.append(attachment)
        chat.showing.refresh()
    chat.prompt.focus()


async def detach(chat: "ChatScreen", argument: str) -> None:
    if not chat.desk.attachments:
        raise UsageError("nothing is attached")
    chat.desk.attachments.clear()
    chat.showing.refresh()


def path_of(typed: str) -> Path:
    """A path as people type, paste or drop it: quoted, with ~."""
    bare = typed.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        bare = bare[1:-1]
    return Path(bare).expanduser()


def read_attachment(path: Path) -> Attachment:
    """The text of a file. Raises InputError for what is no text, or too much of it."""
    size_bytes = file_bytes(path)
    if size_bytes > MOST_BYTES:
        raise InputError(
            f"{path}: {format_bytes(size_bytes)}; at most {format_bytes(MOST_BYTES)} of text can "
            "be attached"
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text (byte {error.start}); only text files can be attached"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: holds NUL characters; only text files can be attached")
    if not text.strip():
        raise InputError(f"{path}: is empty")
    return Attachment(path.name, text)


def _check(typed: str) -> None:
    if typed.strip():
        file_bytes(path_of(typed))


async def _cost(chat: "ChatScreen", attachment: Attachment) -> str:
    """What attaching it means for the context, with what is attached already."""
    if not chat.engine.is_ready:
        return f"It has {figures.count(len(attachment.text))} characters; no model is loaded yet."
    tokens = await chat.engine.count(user_text("", [attachment]))
    waiting = chat.desk.attachments
    others = await chat.engine.count(user_text("", waiting)) if waiting else 0
    context = chat.engine.model.info.context
    used = (chat.showing.used_tokens or 0) + others + tokens
    cost = f"It takes {figures.count(tokens)} tokens; with the conversation {figures.count(used)}."
    size = f"The context holds {figures.count(context)}"
    return f"{cost} {size}." if used < context else f"{cost} That is too much: {size.lower()}."
