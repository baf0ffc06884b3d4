"""Which turns leave a conversation that the context cannot hold."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.events import ToolCall
from edgellm.runtimes.host.shortening import Shortening, split
from edgellm.runtimes.messages import Message

SYSTEM = Message("system", "s" * 10)


def render(messages: Sequence[Message]) -> str:
    return "".join(f"<{message.content}>" for message in messages)


def shortening(messages: Sequence[Message], limit: int, dropped: int = 0) -> Shortening:
    """One in which a character is a token."""
    return Shortening(messages, dropped, render=render, count=len, limit=limit)


def turns(*lengths: int) -> list[Message]:
    """A question and an answer of each length."""
    pairs = ((Message("user", "u" * n), Message("assistant", "a" * n)) for n in lengths)
    return [SYSTEM, *(message for pair in pairs for message in pair)]


def test_a_turn_is_a_question_with_all_that_follows_it() -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("1", "f", "{}"),))
    result = Message("tool", "r", tool_call_id="1")
    greeting, question = Message("assistant", "Hi"), Message("user", "q")
    system, parts = split([SYSTEM, greeting, question, call, result, question, call])
    assert system == [SYSTEM]
    assert parts == [[greeting, question, call, result], [question, call]]


def test_what_fits_stays_whole() -> None:
    past = shortening(turns(5, 5), limit=100)
    assert past.fit(max_tokens=None) is None
    assert past.prompt == render(turns(5, 5))


def test_the_oldest_turns_leave_until_an_answer_has_room() -> None:
    past = shortening([*turns(10, 10, 10), Message("user", "q")], limit=80)
    trimmed = past.fit(max_tokens=None)
    assert trimmed is not None
    assert trimmed.dropped_messages == 4
    assert past.prompt == render([SYSTEM, *turns(10)[1:], Message("user", "q")])
    assert (trimmed.used, trimmed.limit) == (len(past.prompt), 80)
    assert trimmed.dropped_tokens == 2 * 24


def test_a_short_answer_needs_little_room() -> None:
    past = shortening([*turns(10, 10), Message("user", "q")], limit=68)
    assert past.fit(max_tokens=2) is None
    assert past.fit(max_tokens=None) is not None


def test_the_last_turn_stays_however_long_it_is() -> None:
    past = shortening([*turns(5), Message("user", "q" * 90)], limit=50)
    trimmed = past.fit(max_tokens=None)
    assert trimmed is not None
    assert past.prompt == render([SYSTEM, Message("user", "q" * 90)])
    assert past.shorter() is None


def test_what_left_before_stays_away_and_is_not_told_again() -> None:
    past = shortening(turns(5, 6, 7), limit=1000, dropped=2)
    assert past.prompt == render([SYSTEM, *turns(6, 7)[1:]])
    assert past.reported() == 0


def test_a_context_that_fills_gives_up_a_turn_at_a_time_and_counts_messages() -> None:
    past = shortening(turns(9, 9, 9), limit=40)
    assert past.shorter() == render([SYSTEM, *turns(9, 9)[1:]])
    assert past.reported() == 2
    assert past.shorter() == render([SYSTEM, *turns(9)[1:]])
    assert past.shorter() is None
    assert past.reported() == 2


MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant", "tool", "system"]),
        st.text("x", max_size=30),
    ),
    max_size=12,
)


@pytest.mark.parametrize("limit", [20, 60])
@given(messages=MESSAGES, dropped=st.integers(0, 12))
def test_what_is_left_is_the_system_message_and_an_end_of_the_conversation(
    limit: int, messages: list[Message], dropped: int
) -> None:
    system, parts = split(messages)
    assert [*system, *(message for part in parts for message in part)] == messages
    past = shortening(messages, limit, dropped)
    past.fit(max_tokens=None)
    ends = [render([*system, *messages[at:]]) for at in range(len(system), len(messages) + 1)]
    assert past.prompt in ends
    assert not parts or past.prompt.endswith(render(parts[-1]))
