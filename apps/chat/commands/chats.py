"""Beginning, opening, finding, naming and deleting conversations."""

from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.commands.keeping import keep_state, take_up
from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.conversations.records import Listed
from edgellm.apps.chat.dialogs.picker import Choice, Picker, confirm
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.chat.widgets import figures
from edgellm.apps.terminal_text import one_line
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

_MOST_LISTED = 500
_LONGER = f"The newest {_MOST_LISTED}; /search finds all others by their words."


async def new(chat: "ChatScreen", argument: str) -> None:
    """Begin another conversation with the same system prompt and settings."""
    await leave(chat)
    chat.desk.start_new()
    await _show(chat)


async def open_one(chat: "ChatScreen", argument: str) -> None:
    """The conversation of that number, or the one that is chosen from a list."""
    if argument and not argument.isdecimal():
        await search(chat, argument)
        return
    wanted = int(argument) if argument else await _choose(chat)
    if wanted is not None and wanted != chat.desk.conversation.id:
        await go_to(chat, wanted)


async def search(chat: "ChatScreen", argument: str) -> None:
    """Find a turn by its words, and go there."""
    from edgellm.apps.chat.dialogs.searching import SearchDialog

    hit = await chat.ask(SearchDialog(chat.desk.archive, argument))
    if hit is None:
        return
    if hit.conversation != chat.desk.conversation.id:
        await go_to(chat, hit.conversation)
    conversation = chat.desk.conversation
    if hit.turn in conversation.turns and hit.turn not in {t.id for t in conversation.path()}:
        await chat.desk.stand_at(conversation.latest_leaf(hit.turn))
        chat.show_conversation()
    chat.transcript.put_cursor(hit.turn)
    chat.transcript.focus()
    chat.showing.refresh()


async def rename(chat: "ChatScreen", argument: str) -> None:
    _check_stored(chat)
    title = argument or await chat.ask(
        LineDialog("Name of this conversation", chat.desk.conversation.title)
    )
    if title is not None and title.strip():
        await chat.desk.rename(one_line(title))
        chat.showing.refresh()
        await chat.showing.refresh_chats()


async def fork(chat: "ChatScreen", argument: str) -> None:
    """Copy the path that is shown into a conversation of its own."""
    _check_stored(chat)
    await leave(chat)
    await chat.desk.fork()
    await _show(chat)
    chat.tell("This is the copy; the conversation it was made from stays as it was.")


async def delete(chat: "ChatScreen", argument: str) -> None:
    _check_stored(chat)
    count = figures.counted(len(chat.desk.conversation.turns), "turn")
    note = f"“{one_line(chat.desk.title)}” has {count}, on all its branches."
    asked = confirm("Delete this conversation?", note, "Yes, delete it for good")
    if not await chat.ask(asked):
        return
    await chat.talk.stopped()
    await chat.desk.delete()
    await _show(chat)
    chat.tell("Deleted.")


async def go_to(chat: "ChatScreen", conversation: int) -> None:
    """Open another conversation; the one that is left is kept as it is."""
    await leave(chat)
    await chat.desk.open(conversation)
    await _show(chat)


async def leave(chat: "ChatScreen") -> None:
    """End what is going on in the open conversation, and keep its state."""
    await chat.talk.stopped()
    chat.leave_edit()
    await keep_state(chat)


async def _show(chat: "ChatScreen") -> None:
    chat.showing.forget()
    chat.show_conversation()
    chat.prompt.focus()
    await chat.showing.refresh_chats()
    await take_up(chat)


async def _choose(chat: "ChatScreen") -> int | None:
    listed = await chat.desk.archive.do(catalog.list_newest, _MOST_LISTED + 1)
    shown = listed[:_MOST_LISTED]
    return await chat.ask(
        Picker(
            "Conversations",
            [Choice(one.id, _row(one), f"{one.title} {one.excerpt}") for one in shown],
            note=_LONGER if len(listed) > len(shown) else "",
            empty="No conversations yet; write something first.",
        )
    )


def _row(listed: Listed) -> Text:
    when = datetime.fromtimestamp(listed.updated_ms / 1000)
    row = Text(one_line(listed.title) or "(no name)", no_wrap=True, overflow="ellipsis")
    row.append(
        f"  {when:%d %b %Y, %H:%M} · {figures.counted(listed.turns, 'turn')}"
        f"{' · ' + one_line(listed.model) if listed.model else ''}",
        "dim",
    )
    return row


def _check_stored(chat: "ChatScreen") -> None:
    if not chat.desk.is_stored:
        raise UsageError("this conversation has nothing in it yet")
