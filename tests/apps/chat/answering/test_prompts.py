"""From a conversation to what a model reads."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.apps.chat.answering.prompts import messages_of, sent_of, user_text
from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.records import Attachment, Cut, Turn


def conversation(said: Sequence[tuple[str, str]], **facts: object) -> Conversation:
    """A path of (role, content)."""
    turns = {
        number: Turn(number, number - 1 or None, role, content)
        for number, (role, content) in enumerate(said, 1)
    }
    head = len(said) or None
    return Conversation(1, "u", head=head, turns=turns, **facts)  # type: ignore[arg-type]


def shown(talk: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages_of(talk)]


def test_the_path_is_sent_with_its_system_prompt() -> None:
    talk = conversation([("user", "a"), ("assistant", "b"), ("user", "c")], system=" Be brief. ")
    assert shown(talk) == [
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]
    assert shown(conversation([])) == []


def test_a_cut_leaves_out_what_is_above_and_its_summary_stands_for_it() -> None:
    talk = conversation([("user", "a"), ("assistant", "b"), ("user", "c")], system="S")
    talk.cuts[2] = Cut(2, "a was answered by b")
    (role, system), *rest = shown(talk)
    assert role == "system"
    assert system.startswith("S\n\n")
    assert system.endswith("a was answered by b")
    assert rest == [("user", "c")]


def test_files_stand_before_the_question_they_belong_to() -> None:
    text = user_text("What is in them?", [Attachment("a.txt", "A"), Attachment("b.txt", "B")])
    assert text.index("a.txt") < text.index("A") < text.index("b.txt") < text.index("What is")
    assert user_text("", [Attachment("a.txt", "A")]).strip() == text.split("\n\n")[0]
    assert user_text("plain", []) == "plain"


def test_an_answer_that_was_cut_short_is_marked() -> None:
    talk = conversation([("user", "a")])
    talk.put(Turn(2, 1, "assistant", "half", ending="cancelled"))
    talk.head = 2
    assert [message.partial for message in messages_of(talk)] == [False, True]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.sampled_from(["", "x", "y z"])))
)
def test_roles_alternate_and_no_word_is_lost(said: list[tuple[str, str]]) -> None:
    sent = sent_of(conversation(said))
    roles = [one.message.role for one in sent]
    assert all(one != other for one, other in pairwise(roles))
    words = [word for _, content in said for word in content.split()]
    assert [word for one in sent for word in one.message.content.split()] == words


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.sampled_from(["", "x"]))))
def test_a_message_knows_the_last_turn_that_is_in_it(said: list[tuple[str, str]]) -> None:
    for one, other in pairwise(sent_of(conversation(said))):
        between = said[one.turn : other.turn - 1]
        assert all(not content or role == other.message.role for role, content in between)
