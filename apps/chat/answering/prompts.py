"""From a conversation to the messages that a model reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.records import Attachment, Turn
from edgellm.runtimes.messages import Message

_SUMMARY = "What was said before, in short:\n{}"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the model reads, and the last of the turns that are in it."""

    message: Message
    turn: int


def messages_of(conversation: Conversation) -> tuple[Message, ...]:
    """Everything of the current path that is still sent."""
    summary, _ = conversation.sent()
    system = system_text(conversation.system, summary)
    head = [Message("system", system)] if system else []
    return (*head, *(sent.message for sent in sent_of(conversation)))


def sent_of(conversation: Conversation) -> list[Sent]:
    """The messages behind the system's.

    Templates want roles to alternate, so turns of one role in a row become one message, and an
    answer that never got a word is left out.
    """
    _, turns = conversation.sent()
    return list(_merged(turns))


def system_text(system: str, summary: str) -> str:
    """The system prompt with what stands for the turns that are no longer sent."""
    parts = [system.strip(), _SUMMARY.format(summary) if summary else ""]
    return "\n\n".join(part for part in parts if part)


def user_text(text: str, attachments: Sequence[Attachment]) -> str:
    """A user's turn with the files that belong to it."""
    files = [f"[File: {one.name}]\n{one.text}\n[End of {one.name}]" for one in attachments]
    return "\n\n".join([*files, text] if text else files)


def _merged(turns: Sequence[Turn]) -> Iterator[Sent]:
    waiting: Sent | None = None
    for turn in turns:
        message = _message(turn)
        if not message.content and not message.reasoning:
            continue
        if waiting is not None and waiting.message.role == message.role:
            message = _joined(waiting.message, message)
        elif waiting is not None:
            yield waiting
        waiting = Sent(message, turn.id)
    if waiting is not None:
        yield waiting


def _message(turn: Turn) -> Message:
    if turn.role == "user":
        return Message("user", user_text(turn.content, turn.attachments))
    return Message("assistant", turn.content, turn.reasoning, partial=turn.is_partial)


def _joined(first: Message, second: Message) -> Message:
    return Message(
        first.role,
        "\n\n".join(part for part in (first.content, second.content) if part),
        second.reasoning or first.reasoning,
        partial=second.partial,
    )
