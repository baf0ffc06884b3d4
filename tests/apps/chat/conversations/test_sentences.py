"""Where sentences end, against a pattern over the whole text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.apps.chat.conversations.sentences import SentenceCutter

CLOSERS = "[\"')\\]}*_`\u00bb\u2019\u201d\u203a\u300d\u300f\u3011\uff09]*"
ENDING = re.compile(f"[.!?\u2026]{CLOSERS}\\s|[\u3002\uff01\uff1f]{CLOSERS}|\n")
text_with_ends = st.text('a .!?\u2026")*\n\r\u3000\u3002\uff01\u300d', max_size=40)


def finished_part(text: str) -> str:
    """All up to the last place where a sentence ends."""
    ends = [found.end() for at in range(len(text)) if (found := ENDING.match(text, at))]
    return text[: max(ends, default=0)]


@given(st.lists(text_with_ends, max_size=8))
def test_what_is_out_is_the_text_up_to_the_last_finished_sentence(pieces: list[str]) -> None:
    cutter = SentenceCutter()
    fed = out = ""
    for piece in pieces:
        out += cutter.feed(piece)
        fed += piece
        assert out == finished_part(fed)
    assert out + cutter.flush() == fed
    assert cutter.flush() == ""


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("He said 3.14 of it", ""),
        ('"Now!" he said', '"Now!" '),
        ("It is **so.**\tThen", "It is **so.**\t"),
        ("def f():\n    return", "def f():\n"),
        ("Wait… what", "Wait… "),
        ("「好。」他", "「好。」"),
        ("End.", ""),
    ],
)
def test_people_would_say_so_too(text: str, finished: str) -> None:
    assert SentenceCutter().feed(text) == finished
