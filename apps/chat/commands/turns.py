"""Selecting turns, changing them, and walking between branches."""

from typing import TYPE_CHECKING

from edgellm.apps.chat.commands.keeping import recount
from edgellm.apps.chat.conversations.records import Turn
from edgellm.apps.chat.transcript.turns import TurnItem
from edgellm.errors import EdgeLLMError, UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen


async def previous(chat: "ChatScreen", argument: str) -> None:
    _move(chat, -1)


async def next_one(chat: "ChatScreen", argument: str) -> None:
    _move(chat, 1)


def _move(chat: "ChatScreen", step: int) -> None:
    chat.transcript.move_cursor(step)
    if chat.transcript.cursor is not None:
        chat.transcript.focus()
    chat.showing.refresh()


async def edit(chat: "ChatScreen", argument: str) -> None:
    """Put a turn's text into the prompt: the selected one's, or the last question's."""
    _check_idle(chat)
    turn = selected(chat) or _last_question(chat)
    chat.editing = turn.id
    chat.prompt.lend(turn.content)
    chat.prompt.focus()
    chat.transcript.put_cursor(turn.id)
    chat.showing.refresh()


async def finish_edit(chat: "ChatScreen", text: str) -> None:
    """A question is asked again as it stands now; an answer is kept as it stands now."""
    assert chat.editing is not None
    from edgellm.apps.chat.commands.sending import answer, asking, settle

    turn, ended = chat.desk.conversation.turns[chat.editing], None
    try:
        with asking(chat):
            changed = await _keep_edit(chat, turn, text)
            chat.leave_edit()
            chat.show_conversation()
            if turn.role == "user":
                ended = await answer(chat, changed.id)
    except EdgeLLMError:
        if chat.editing is not None:
            chat.prompt.give_back(text)
        raise
    if turn.role == "user":
        await settle(chat, ended)
    else:
        await recount(chat)


async def _keep_edit(chat: "ChatScreen", turn: Turn, text: str) -> Turn:
    """The turn as it stands now, beside the one it was; a question keeps its files."""
    desk = chat.desk
    if not text.strip() and not turn.attachments:
        raise UsageError("nothing is left of it; Esc leaves it as it was")
    if turn.role != "user":
        return await desk.rewrite(turn, text)
    waiting, desk.attachments = desk.attachments, [*turn.attachments]
    try:
        parent = desk.conversation.parent(turn.id)
        return await desk.add_user(text, chat.engine.name, parent=parent)
    finally:
        desk.attachments = waiting


async def undo(chat: "ChatScreen", argument: str) -> None:
    """Go back to before the last question, which comes back into the prompt."""
    await chat.talk.stopped()
    question, before = _last_question(chat), _next_question(chat)
    await chat.desk.stand_at(chat.desk.conversation.parent(question.id))
    chat.show_conversation()
    if chat.prompt.text in ("", before):
        chat.prompt.fill(question.content)
    await recount(chat)


async def redo(chat: "ChatScreen", argument: str) -> None:
    """Go forward again as far as one step of undo went back, by the newest turns."""
    _check_idle(chat)
    conversation = chat.desk.conversation
    later = conversation.children(conversation.head)
    if not later:
        raise UsageError("nothing was taken back here")
    turn = conversation.turns[later[-1]]
    answers = conversation.children(turn.id) if turn.role == "user" else ()
    await chat.desk.stand_at(answers[-1] if answers else turn.id)
    if chat.prompt.text == turn.content:
        chat.prompt.fill(_next_question(chat))
    chat.show_conversation()
    await recount(chat)


def _next_question(chat: "ChatScreen") -> str:
    """The question that was taken back here last, which stands in the prompt then."""
    conversation = chat.desk.conversation
    later = [conversation.turns[key] for key in conversation.children(conversation.head)]
    return later[-1].content if later and later[-1].role == "user" else ""


async def branch(chat: "ChatScreen", argument: str) -> None:
    """Stand at the selected turn, so that the next question begins a branch there."""
    _check_idle(chat)
    turn = _wanted(chat)
    await chat.desk.stand_at(turn.id)
    chat.show_conversation()
    chat.prompt.focus()
    await recount(chat)


async def branch_before(chat: "ChatScreen", argument: str) -> None:
    await switch(chat, _branching(chat), -1)


async def branch_after(chat: "ChatScreen", argument: str) -> None:
    await switch(chat, _branching(chat), 1)


async def switch(chat: "ChatScreen", turn_id: int, step: int) -> None:
    """Show another turn in this one's place, with the newest of what followed it."""
    _check_idle(chat)
    siblings = chat.desk.conversation.siblings(turn_id)
    if len(siblings) < 2:
        raise UsageError("there is no other branch here")
    other = siblings[(siblings.index(turn_id) + step) % len(siblings)]
    await chat.desk.stand_at(chat.desk.conversation.latest_leaf(other))
    chat.show_conversation()
    chat.transcript.put_cursor(other)
    await recount(chat)


async def fold(chat: "ChatScreen", argument: str) -> None:
    """Show or hide the thoughts of the selected turn, or of the last one that has some."""
    item = chat.transcript.cursor
    if not isinstance(item, TurnItem) or not item.thoughts:
        having = [one for one in chat.transcript.items if isinstance(one, TurnItem)]
        item = next((one for one in reversed(having) if one.thoughts), None)
    if item is None:
        raise UsageError("no answer here has thoughts")
    item.is_unfolded = not item.is_unfolded
    chat.transcript.changed(item.key)


def selected(chat: "ChatScreen") -> Turn | None:
    """The turn that the cursor is on."""
    item = chat.transcript.cursor
    return None if item is None else chat.desk.conversation.turns.get(item.key)


def _wanted(chat: "ChatScreen") -> Turn:
    turn = selected(chat)
    if turn is None:
        raise UsageError("select a turn first, with Alt+Up")
    return turn


def _branching(chat: "ChatScreen") -> int:
    """The selected turn, or the last of the path that has others in its place."""
    turn = selected(chat)
    if turn is not None:
        return turn.id
    conversation = chat.desk.conversation
    for one in reversed(conversation.path()):
        if len(conversation.siblings(one.id)) > 1:
            return one.id
    raise UsageError("this conversation has no branches yet; edit or regenerate makes one")


def _last_question(chat: "ChatScreen") -> Turn:
    for turn in reversed(chat.desk.conversation.path()):
        if turn.role == "user":
            return turn
    raise UsageError("there is no question yet")


def _check_idle(chat: "ChatScreen") -> None:
    """Raises UsageError."""
    from edgellm.apps.chat.commands.sending import asking

    with asking(chat):
        pass
