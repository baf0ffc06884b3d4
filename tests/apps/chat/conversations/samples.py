"""Conversations of every kind, and texts that are hard to keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hypothesis import strategies as st

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.records import ENDINGS, Attachment, Cut, Figures, Turn
from edgellm.errors import EdgeLLMError

AWKWARD = (
    "<!-- edgellm:0 user -->",
    "<!-- edgellm:0 end -->",
    "<!-- edgellm:1 end -->",
    '<!-- edgellm:conversation {"schema_version": 1} -->',
    "-->",
    "```",
    "~~~~",
    "# ",
    "</details>",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\ufeff",
    '"',
    "'",
    "%",
    "_",
    "*",
    " AND ",
    " NOT ",
    "NEAR(",
    "content:",
    "\u00df",
    "\u0130",
    "\u03a3\u03c2",
    "\U0001f468\u200d\U0001f469",
    "\u3002",
)
any_text = st.lists(st.sampled_from(AWKWARD) | st.text(max_size=6), max_size=8).map("".join)
_number = st.integers(0, 2**63 - 1)
_seconds = st.floats(0, 1e9)
figures = st.builds(Figures, _number, _number, _number, _seconds, _seconds, _seconds)
attachments = st.lists(st.builds(Attachment, any_text, any_text), max_size=2).map(tuple)
users = st.builds(
    Turn,
    st.just(0),
    st.none(),
    st.just("user"),
    any_text,
    attachments=attachments,
    created_ms=st.integers(1, 2**63 - 1),
)
answers = st.builds(
    Turn,
    st.just(0),
    st.none(),
    st.just("assistant"),
    any_text,
    any_text,
    ending=st.sampled_from(sorted(ENDINGS)),
    model=any_text,
    figures=st.none() | figures,
    created_ms=st.integers(1, 2**63 - 1),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Trees of a few turns, with ids from 1."""
    turns: dict[int, Turn] = {}
    for number, turn in enumerate(draw(st.lists(users | answers, max_size=6)), 1):
        parent = draw(st.sampled_from([None, *turns]))
        turns[number] = replace(turn, id=number, parent=parent)
    places = draw(st.sets(st.sampled_from(list(turns)), max_size=2)) if turns else set()
    return Conversation(
        0,
        "",
        draw(any_text),
        draw(any_text),
        draw(st.dictionaries(any_text, _json, max_size=3)),
        draw(any_text),
        draw(st.sampled_from([None, *turns])),
        turns,
        {turn: Cut(turn, draw(any_text)) for turn in places},
    )


@contextmanager
def refusal_in_one_line() -> Iterator[None]:
    """What the block does may be refused, in one line; nothing else may go wrong."""
    refused = ""
    try:
        yield
    except EdgeLLMError as error:
        refused = str(error)
    assert "\n" not in refused
