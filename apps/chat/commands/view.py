"""Help, colours, the side panel, and leaving."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.commands.chats import leave as leave_conversation
from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.errors import EdgeLLMError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

UNSENT = "unsent"  # what stood in the prompt is remembered under this name
REST_S = 1.0  # after the last key


async def show_help(chat: "ChatScreen", argument: str) -> None:
    from edgellm.apps.chat.dialogs.helping import HelpDialog

    await chat.ask(HelpDialog(chat.keys))


async def palette(chat: "ChatScreen", argument: str) -> None:
    chat.app.action_command_palette()


async def panel(chat: "ChatScreen", argument: str) -> None:
    """Show the panel where it is hidden, hide it where it is shown."""
    shown = chat.query_one("#panel").display
    chat.set_class(not shown, "-with-panel")
    chat.set_class(shown, "-without-panel")
    chat.showing.resized()
    await chat.showing.refresh_chats()


async def theme(chat: "ChatScreen", argument: str) -> None:
    """The theme of that name, or one chosen from all."""
    names = sorted(chat.app.available_themes)
    chosen = argument or await chat.ask(
        Picker(
            "Colours",
            [Choice(name, Text(name)) for name in names],
            pointed=names.index(chat.app.theme),
        )
    )
    if chosen:
        await chat.app.wear_theme(chosen)  # type: ignore[attr-defined]


async def keep_unsent(chat: "ChatScreen") -> None:
    """Remember what stands in the prompt, once nobody types; a full disk is told of elsewhere."""
    await asyncio.sleep(REST_S)
    with suppress(EdgeLLMError):
        await chat.desk.archive.do(remembered.remember, UNSENT, chat.prompt.own_text)


async def leave(chat: "ChatScreen", argument: str) -> None:
    """Leave once everything is kept, what is not sent yet as well."""
    chat.tell("Keeping everything …")
    try:
        await chat.desk.archive.do(remembered.remember, UNSENT, chat.prompt.own_text)
        await leave_conversation(chat)
    finally:  # a full disk holds nobody here
        chat.app.exit()
