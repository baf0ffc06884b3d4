"""Copying turns and blocks of code, as they were written."""

from typing import TYPE_CHECKING

from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen


async def copy(chat: "ChatScreen", argument: str) -> None:
    """The turn of that number from the end, the selected one, or the last answer."""
    await copy_turn(chat, _meant(chat, argument))


async def code(chat: "ChatScreen", argument: str) -> None:
    """The block of that number in the selected or last answer that has some; the last one."""
    selected = chat.transcript.cursor
    items = [selected] if isinstance(selected, TurnItem) else _turns(chat)[::-1]
    item = next((one for one in items if one.codes), None)
    if item is None:
        raise UsageError("there is no block of code here")
    await copy_code(chat, item, _number(argument, len(item.codes)) - 1)


async def copy_turn(chat: "ChatScreen", item: TurnItem) -> None:
    turn = chat.desk.conversation.turns.get(item.key)
    await put(chat, turn.content if turn is not None and turn.content else item.text)


async def copy_code(chat: "ChatScreen", item: TurnItem, number: int) -> None:
    await put(chat, item.codes[number])


async def put(chat: "ChatScreen", text: str) -> None:
    """Copy, and say which way worked."""
    await chat.app.put_into_clipboard(text)  # type: ignore[attr-defined]


def _meant(chat: "ChatScreen", argument: str) -> TurnItem:
    turns = _turns(chat)
    if not turns:
        raise UsageError("there is nothing to copy yet")
    if argument:
        return turns[-_number(argument, len(turns))]
    if isinstance(chat.transcript.cursor, TurnItem):
        return chat.transcript.cursor
    return next((one for one in reversed(turns) if one.role == "assistant"), turns[-1])


def _turns(chat: "ChatScreen") -> list[TurnItem]:
    return [item for item in chat.transcript.items if isinstance(item, TurnItem)]


def _number(argument: str, most: int) -> int:
    if not argument:
        return most
    if not argument.isdecimal() or not 1 <= int(argument) <= most:
        raise UsageError(f"{argument!r} is no number from 1 to {most}")
    return int(argument)
