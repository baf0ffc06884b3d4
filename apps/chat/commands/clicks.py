"""What a click in the transcript does."""

from typing import TYPE_CHECKING

from edgellm.apps.chat.commands.copying import copy_code, copy_turn
from edgellm.apps.chat.commands.turns import switch
from edgellm.apps.chat.transcript.code import CODE
from edgellm.apps.chat.transcript.turns import BRANCH, COPY, FOLD, TurnItem
from edgellm.apps.chat.transcript.view import Transcript

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen


async def clicked(chat: "ChatScreen", event: Transcript.Clicked) -> None:
    """Fold, copy, or go to another branch."""
    item = chat.transcript.item(event.key)
    if not isinstance(item, TurnItem):
        return
    match event.what, event.value:
        case what, _ if what == FOLD:
            item.is_unfolded = not item.is_unfolded
            chat.transcript.changed(item.key)
        case what, _ if what == COPY:
            await copy_turn(chat, item)
        case what, int(number) if what == CODE:
            await copy_code(chat, item, number)
        case what, int(step) if what == BRANCH:
            await switch(chat, item.key, step)
        case _:
            pass
