"""What the transcript shows of a conversation, without a screen."""

from dataclasses import replace

import pytest

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.records import Attachment, Figures, Turn
from edgellm.apps.chat.items import LATER, attached_line, details_of, items_of
from edgellm.apps.chat.transcript.turns import RuleItem

TOOK = Figures(10, 0, 1, 0.1, 0.0, 0.2)


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        (1, "what followed was taken back; /redo brings it back"),
        (2, "2 branches were taken back; /redo brings back the latest"),
    ],
)
def test_what_was_taken_back_is_said_with_the_way_to_bring_it_back(
    branches: int, said: str
) -> None:
    conversation = Conversation(1, "uid")
    for number in range(branches):
        conversation.put(Turn(2 + number, None, "user", "hello"))
    conversation.head = None
    *_, last = items_of(conversation, "")
    assert isinstance(last, RuleItem)
    assert (last.key, last.text) == (LATER, said)


def test_one_is_counted_as_one() -> None:
    answer = Turn(1, None, "assistant", "Yes.", figures=TOOK)
    assert details_of(answer).startswith("1 token ·")
    several = replace(answer, figures=replace(TOOK, generated_tokens=1200))
    assert details_of(several).startswith("1,200 tokens ·")
    assert attached_line(Attachment("a.txt", "a")) == "a.txt (1 character)"
    assert attached_line(Attachment("a.txt", "ab")) == "a.txt (2 characters)"
