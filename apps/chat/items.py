"""From a conversation to what the transcript shows of it."""

from collections.abc import Iterator

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.records import EDITED, Attachment, Figures, Turn
from edgellm.apps.chat.transcript.turns import Heading, Item, RuleItem, TurnItem
from edgellm.apps.chat.widgets import figures
from edgellm.apps.terminal_text import harmless, one_line

LATER, _WELCOME = -1, -2  # keys of lines that stand for no turn; those of cuts are below
_ENDINGS = {
    "cancelled": "stopped by you",
    "length": "ended at the limit of tokens for one answer",
    "context_full": "ended because the context was full",
    "failed": "the engine failed here",
    "unfinished": "cut off: the program ended while this was written",
}


def items_of(conversation: Conversation, welcome: str) -> Iterator[Item]:
    """The current path from the top, with what is to be said between its turns.

    welcome: in Markdown, shown where there are none.
    """
    if not conversation.turns:
        yield RuleItem(_WELCOME, "a new conversation", welcome, "muted")
    for turn in conversation.path():
        yield item_of(conversation, turn)
        if cut := conversation.cuts.get(turn.id):
            yield cut_item(turn.id, cut.summary)
    if later := conversation.children(conversation.head):
        text = "what followed was taken back; /redo brings it back"
        if len(later) > 1:
            text = f"{len(later)} branches were taken back; /redo brings back the latest"
        yield RuleItem(LATER, text, part="muted")


def cut_key(turn: int) -> int:
    return -16 - turn


def cut_item(turn: int, summary: str) -> RuleItem:
    """The line below which the model reads."""
    if summary:
        return RuleItem(cut_key(turn), "what stands above is sent in short:", harmless(summary))
    return RuleItem(cut_key(turn), "what stands above is no longer sent to the model")


def item_of(conversation: Conversation, turn: Turn) -> TurnItem:
    siblings = conversation.siblings(turn.id)
    heading = Heading(_name(turn), details_of(turn), siblings.index(turn.id) + 1, len(siblings))
    return TurnItem(
        turn.id,
        turn.role,
        heading,
        harmless(turn.content),
        thoughts=harmless(turn.reasoning),
        attached=[attached_line(one) for one in turn.attachments],
        ending=ending_of(turn),
    )


def attached_line(attachment: Attachment) -> str:
    return f"{one_line(attachment.name)} ({figures.counted(len(attachment.text), 'character')})"


def ending_of(turn: Turn) -> str:
    """How an answer was cut short, in words; empty where it was not."""
    return _ENDINGS.get(turn.ending, "")


def details_of(turn: Turn) -> str:
    """What an answer took, at the right of its first line."""
    if turn.ending == EDITED:
        return "changed by you"
    return "" if turn.figures is None else _details(turn.figures)


def _details(took: Figures) -> str:
    parts = [figures.counted(took.generated_tokens, "token")]
    if took.decode_s > 0:
        parts.append(f"{figures.rate(took.generated_tokens / took.decode_s)}/s")
    parts.append(f"first {figures.duration(took.first_token_s)}")
    if took.cached_tokens:
        parts.append(
            f"{figures.count(took.cached_tokens)} of {figures.count(took.prompt_tokens)} cached"
        )
    return " · ".join(parts)


def _name(turn: Turn) -> str:
    return "You" if turn.role == "user" else one_line(turn.model) or "Model"


def live_item(turn: Turn, siblings: tuple[int, ...]) -> TurnItem:
    """An answer that will grow."""
    heading = Heading(turn.model or "Model", "", siblings.index(turn.id) + 1, len(siblings))
    return TurnItem(turn.id, "assistant", heading, "")


def finish_item(item: TurnItem, turn: Turn) -> None:
    """The same once it has ended."""
    item.heading = Heading(
        item.heading.name, details_of(turn), item.heading.number, item.heading.count
    )
    item.ending = ending_of(turn)
