"""Stopping and regenerating answers."""

from typing import TYPE_CHECKING

from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen


async def stop(chat: "ChatScreen", argument: str) -> None:
    """Esc: the first of these that there is to leave or to stop."""
    if chat.talk.stop() or chat.engine.stop_loading():
        return
    chat.leave_edit()
    if not chat.query_one("#chat").display:
        chat.act("panel")  # which hides it in a narrow terminal
    chat.transcript.put_cursor(None)
    chat.screen.clear_selection()
    chat.prompt.focus()
    chat.showing.refresh()


async def regenerate(chat: "ChatScreen", argument: str) -> None:
    """Answer the selected turn's question again, or the last one."""
    from edgellm.apps.chat.commands.sending import answer, asking, settle

    with asking(chat):
        question = question_of(chat)
        await chat.desk.stand_at(question)
        chat.show_conversation()
        chat.prompt.focus()
        ended = await answer(chat, question)
    await settle(chat, ended)


def question_of(chat: "ChatScreen") -> int:
    """The user's turn that the selected turn is or answers, or the last one of the path."""
    selected = chat.transcript.cursor
    path = chat.desk.conversation.path()
    if selected is not None and selected.key > 0:
        path = path[: 1 + next(i for i, turn in enumerate(path) if turn.id == selected.key)]
    for turn in reversed(path):
        if turn.role == "user":
            return turn.id
    raise UsageError("there is no question yet")
