"""When the context is full, or should be larger or lighter; nothing is left out silently."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.answering.engine import State
from edgellm.apps.chat.answering.prompts import Sent, sent_of
from edgellm.apps.chat.answering.settings import TRIM
from edgellm.apps.chat.commands.keeping import recount
from edgellm.apps.chat.conversations.records import Cut
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.chat.talk import Ended
from edgellm.apps.chat.widgets import figures
from edgellm.apps.launching import LoadSettings
from edgellm.errors import EdgeLLMError, UsageError
from edgellm.runtimes.messages import Message

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

_ASKED = (
    "Sum up the conversation above in at most {words} words, for somebody who goes on with it: "
    "facts, names, numbers, decisions and open questions. Write the summary alone."
)
_SUMMARY_SHARE = 8  # one over the share of the context that a summary may take
_STEP_TOKENS = 1024  # of a context that is proposed


async def offer_room(chat: "ChatScreen", ended: Ended) -> None:
    """The context is full: say so, and let the user decide."""
    full = ended.answer.full
    assert full is not None
    again = ended.turn is None  # the question was not answered at all
    choices, left_out = list(_LEAVING_OUT), "Nothing was left out."
    if not older_part(chat):
        choices = [_SHORTER] if again else []
        left_out = "Nothing was left out, and nothing older than the last question could be."
    note = (
        f"The context holds {figures.count(full.limit)} tokens; this conversation takes "
        f"{figures.count(full.used)}. {left_out}"
    )
    chosen = await chat.ask(
        Picker(
            "The context is full",
            [*choices, *_ELSEWHERE],
            note=note,
            has_search=False,
            pointed=None,
        )
    )
    if chosen is None or not await _made_room(chat, chosen, full.used):
        return
    if again:
        from edgellm.apps.chat.commands.answers import regenerate

        await regenerate(chat, "")
    elif chosen == "always":
        chat.tell("From now on the oldest turns are left out where they do not fit.")
    else:
        chat.tell("There is room now; /regenerate answers the last question again.")


async def _made_room(chat: "ChatScreen", chosen: str, used_tokens: int) -> bool:
    """Do what was chosen; whether there is room for the same question now."""
    match chosen:
        case "trim":
            return await _trim(chat)
        case "always":
            await chat.desk.change(settings=chat.desk.settings.changed("when_full", TRIM))
            return True
        case "summarize":
            return await _summarize(chat)
        case "larger":
            return await _resize(chat, "", used_tokens)
        case "shorter":
            from edgellm.apps.chat.commands.turns import edit

            await edit(chat, "")
            return False
        case _:
            from edgellm.apps.chat.commands.chats import new

            await new(chat, "")
            return False


async def trim(chat: "ChatScreen", argument: str) -> None:
    """Leave the older half of what is sent out of it; the turns stay in the conversation."""
    await _trim(chat)


async def summarize(chat: "ChatScreen", argument: str) -> None:
    """Put a summary by the model in the place of the older half of what is sent."""
    await _summarize(chat)


async def untrim(chat: "ChatScreen", argument: str) -> None:
    """Send again what the latest cut left out."""
    conversation = chat.desk.conversation
    for turn in reversed(conversation.path()):
        if turn.id in conversation.cuts:
            await chat.desk.uncut(turn.id)
            await _changed(chat)
            return
    raise UsageError("nothing was left out of this conversation")


async def resize(chat: "ChatScreen", argument: str) -> None:
    """Load the model with a context of so many tokens."""
    await _resize(chat, argument)


async def _trim(chat: "ChatScreen") -> bool:
    half = await older_half(chat)
    summary, _ = chat.desk.conversation.sent()
    await chat.desk.cut(Cut(half[-1].turn, summary))
    await _changed(chat)
    return True


async def _summarize(chat: "ChatScreen") -> bool:
    """The text is the model's, so it is shown where it stands in the transcript."""
    half = await older_half(chat)
    summary, _ = chat.desk.conversation.sent()
    context = chat.engine.model.info.context
    room = max(context // _SUMMARY_SHARE, 16)
    before = [Message("system", f"Summary of what came before:\n{summary}")] if summary else []
    asked = Message("user", _ASKED.format(words=room // 2))
    messages = [*before, *(sent.message for sent in half), asked]
    text = await _answered(chat, messages, room)
    await chat.desk.cut(Cut(half[-1].turn, text))
    await _changed(chat)
    return True


async def _answered(chat: "ChatScreen", messages: Sequence[Message], room: int) -> str:
    """What the model says to this, which becomes no turn. Raises where it says nothing whole."""
    conversation = chat.desk.conversation
    chat.showing.wake()
    try:
        answer = await chat.talk.ask_aside(
            "summing up", messages, {"max_tokens": room, "temperature": 0.0}
        )
    finally:
        chat.showing.forget()
        await recount(chat)
    if answer.error is not None:
        raise answer.error
    was_stopped = answer.done is not None and answer.done.stop_reason == "cancelled"
    if was_stopped or chat.desk.conversation is not conversation:
        raise UsageError("stopped; nothing was left out")
    if not answer.text.strip():
        raise UsageError("the model wrote no summary; /trim leaves the older half out instead")
    return answer.text.strip()


async def older_half(chat: "ChatScreen") -> list[Sent]:
    """The first of the messages that are sent: about half of them, up to an answer's end."""
    if chat.talk.is_busy:
        raise UsageError(f"an answer is under way; {chat.stop_key} stops it")
    _check_loaded(chat)
    if not (older := older_part(chat)):
        raise UsageError("there is nothing to leave out but the last question itself")
    return sent_of(chat.desk.conversation)[:older]


def _check_loaded(chat: "ChatScreen") -> None:
    """Raises UsageError."""
    if chat.engine.state is State.LOADING:
        raise UsageError(f"the model is still loading; {chat.stop_key} stops that")
    if not chat.engine.is_ready:
        raise UsageError("no model is loaded; /model chooses one")


def older_part(chat: "ChatScreen") -> int:
    """How many of the messages that are sent `older_half` takes; 0 where none can go."""
    sent = sent_of(chat.desk.conversation)
    lengths = [len(one.message.content) for one in sent]
    total, taken, older = sum(lengths), 0, 0
    for index, length in enumerate(lengths[:-1]):
        taken += length
        if sent[index].message.role == "assistant":
            older = index + 1
            if 2 * taken >= total:
                break
    return older


async def _changed(chat: "ChatScreen") -> None:
    chat.show_conversation()
    await recount(chat)


async def _resize(chat: "ChatScreen", argument: str, used_tokens: int = 0) -> bool:
    """used_tokens: what a conversation takes that does not fit."""
    from edgellm.apps.chat.commands.models import load

    _check_loaded(chat)
    typed = argument or await _ask_context(chat, used_tokens)
    if not typed:
        return False
    wanted = _number(typed)
    before = chat.engine.changed_settings
    larger: LoadSettings = {**before, "context": wanted, "beyond_plan": True}
    if not await load(chat, chat.engine.reference, larger):
        return False
    chat.tell(f"The context holds {figures.count(chat.engine.model.info.context)} tokens now.")
    return True


async def _ask_context(chat: "ChatScreen", used_tokens: int) -> str | None:
    import asyncio

    now = chat.engine.model.info.context
    most = await asyncio.to_thread(_largest_context, Path(chat.engine.model.path))
    proposed = _proposed_context(now, used_tokens)
    note = f"It is {figures.count(now)} now"
    if used_tokens:
        note += f", and the conversation takes {figures.count(used_tokens)}"
    if most is not None:
        note += f"; this model was made for {figures.count(most)} at most"
    text = str(min(proposed, most or proposed))
    return await chat.ask(LineDialog("Context in tokens", text, note=f"{note}.", check=_number))


def _proposed_context(now: int, used_tokens: int) -> int:
    """Twice as much, or more where that does not hold what is used with some room for answers."""
    needed = used_tokens * 5 // 4
    return 2 * now if needed <= 2 * now else _STEP_TOKENS * -(-needed // _STEP_TOKENS)


def _largest_context(path: Path) -> int | None:
    """Tokens that the model in a file was made for; None where that cannot be read."""
    from edgellm.apps.context_memory import ContextMemory

    try:
        return ContextMemory.of(path).limit
    except EdgeLLMError:
        return None


def _number(typed: str) -> int:
    digits = typed.replace(",", "").strip()
    if not digits.isdecimal() or not 1 <= int(digits) <= 1 << 30:
        raise UsageError(f"{typed!r}: expected a number of tokens, such as 8192")
    return int(digits)


def _choice(name: str, title: str, why: str) -> Choice[str]:
    return Choice(name, Text(title, "bold").append(f"  {why}", "not bold dim"))


_LEAVING_OUT = (
    _choice("trim", "Trim", "leave the older half out of what is sent"),
    _choice("always", "Trim, now and whenever it is full", "each time it will be said"),
    _choice("summarize", "Summarize", "the model sums up the older half first"),
)
_SHORTER = _choice("shorter", "Shorten the question", "it comes back into the prompt")
_ELSEWHERE = (
    _choice("larger", "A larger context", "load the model again, if memory allows"),
    _choice("new", "A new conversation", "this one stays as it is"),
)
