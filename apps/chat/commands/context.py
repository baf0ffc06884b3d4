"""When the context is full, or should be larger or lighter; nothing is left out silently."""

from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.answering.prompts import Sent, sent_of
from edgellm.apps.chat.answering.settings import TRIM
from edgellm.apps.chat.commands.keeping import recount
from edgellm.apps.chat.conversations.records import Cut
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.chat.talk import Ended
from edgellm.apps.chat.widgets import figures
from edgellm.apps.launching import LoadSettings
from edgellm.errors import UsageError
from edgellm.runtimes.messages import Message

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

_ASKED = (
    "Sum up the conversation above in at most {words} words, for somebody who goes on with it: "
    "facts, names, numbers, decisions and open questions. Write the summary alone."
)
_SUMMARY_SHARE = 8  # one over the share of the context that a summary may take


async def offer_room(chat: "ChatScreen", ended: Ended) -> None:
    """The context is full: say so, and let the user decide."""
    full = ended.answer.full
    assert full is not None
    note = (
        f"The context holds {figures.count(full.limit)} tokens; this conversation takes "
        f"{figures.count(full.used)}. Nothing was left out."
    )
    choices = [
        Choice("trim", _row("Trim", "leave the older half out of what is sent")),
        Choice("always", _row("Trim, now and whenever it is full", "each time it will be said")),
        Choice("summarize", _row("Summarize", "the model sums up the older half first")),
        Choice("larger", _row("A larger context", "load the model again, if memory allows")),
        Choice("new", _row("A new conversation", "this one stays as it is")),
    ]
    chosen = await chat.ask(Picker("The context is full", choices, note=note, has_search=False))
    if chosen is None:
        return
    again = ended.turn is None  # the question was not answered at all
    if not await _made_room(chat, chosen):
        return
    if again:
        from edgellm.apps.chat.commands.answers import regenerate

        await regenerate(chat, "")
    else:
        chat.tell("There is room now; /regenerate answers the last question again.")


async def _made_room(chat: "ChatScreen", chosen: str) -> bool:
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
            return await _resize(chat, "")
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
    chat.tell("Summing up …")
    stream = chat.engine.answer(messages, {"max_tokens": room, "temperature": 0.0}, trims=True)
    text = (await stream.result()).text.strip()
    if not text:
        raise UsageError("the model wrote no summary; /trim leaves the older half out instead")
    await chat.desk.cut(Cut(half[-1].turn, text))
    await _changed(chat)
    return True


async def older_half(chat: "ChatScreen") -> list[Sent]:
    """The first of the messages that are sent: about half of them, up to an answer's end."""
    if chat.talk.is_busy:
        raise UsageError("an answer is under way; Esc stops it")
    if not chat.engine.is_ready:
        raise UsageError("no model is loaded; /model chooses one")
    sent = sent_of(chat.desk.conversation)
    lengths = [len(one.message.content) for one in sent]
    total, taken, last = sum(lengths), 0, -1
    for index, length in enumerate(lengths[:-1]):
        taken += length
        if sent[index].message.role == "assistant":
            last = index
            if 2 * taken >= total:
                break
    if last < 0:
        raise UsageError("there is nothing to leave out but the last question itself")
    return sent[: last + 1]


async def _changed(chat: "ChatScreen") -> None:
    chat.show_conversation()
    await recount(chat)


async def _resize(chat: "ChatScreen", argument: str) -> bool:
    from edgellm.apps.chat.commands.models import load

    if not chat.engine.is_ready:
        raise UsageError("no model is loaded; /model chooses one")
    now = chat.engine.model.info.context
    typed = argument or await chat.ask(
        LineDialog(
            "Context in tokens",
            str(2 * now),
            note=f"It is {figures.count(now)} now.",
            check=_number,
        )
    )
    if not typed:
        return False
    wanted = _number(typed)
    before = chat.engine.changed_settings
    larger: LoadSettings = {**before, "context": wanted, "beyond_plan": True}
    return await load(chat, chat.engine.reference, larger)


def _number(typed: str) -> int:
    digits = typed.replace(",", "").strip()
    if not digits.isdecimal() or not 1 <= int(digits) <= 1 << 30:
        raise UsageError(f"{typed!r}: expected a number of tokens, such as 8192")
    return int(digits)


def _row(title: str, why: str) -> Text:
    return Text(title, "bold").append(f"  {why}", "not bold dim")
