"""Conversations in Markdown files: there and back, and for people."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.fences import fence_around, open_fence
from edgellm.apps.chat.conversations.markdown import to_markdown
from edgellm.apps.chat.conversations.portable import export_markdown, read_portable
from edgellm.apps.chat.conversations.records import Attachment, Turn
from edgellm.errors import FormatError
from tests.apps.chat.conversations.samples import conversations, refusal_in_one_line

fenced_text = st.lists(st.sampled_from(["`", "```", "~~~", " ", "a", "\n", "    "])).map("".join)


@given(conversations())
@settings(max_examples=150, deadline=None)
def test_the_path_comes_back_from_markdown(conversation: Conversation) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chat.md"
        export_markdown(conversation, path)
        read = read_portable(path)
    expected = [replace(turn, id=0, parent=None, figures=None) for turn in conversation.path()]
    expected = [turn if turn.role == "assistant" else replace(turn) for turn in expected]
    assert [replace(turn, id=0, parent=None) for turn in read.path()] == expected
    assert (read.title, read.system) == (conversation.title, conversation.system)
    assert read.model == conversation.model


def talk() -> Conversation:
    notes = (Attachment("notes.txt", "A heron\n```\nis grey."),)
    turns = {
        1: Turn(1, None, "user", "What is a heron?", attachments=notes, created_ms=5),
        2: Turn(2, 1, "assistant", "A **bird**.", "Easy.", (), "length", "qwen", None, 6),
    }
    return Conversation(0, "", "On herons", "Be brief.", {}, "qwen", 2, turns)


PAGE = """\
<!-- edgellm:conversation {"schema_version": 1, "mark": "0", "title": "On herons", "model": "qwen"} -->
# On herons

## System prompt

<!-- edgellm:0 system -->
Be brief.
<!-- edgellm:0 end -->

## User

<!-- edgellm:0 user {"created_ms": 5} -->
What is a heron?
<!-- edgellm:0 end -->

Attachment: notes.txt

<!-- edgellm:0 attachment {"name": "notes.txt"} -->
````
A heron
```
is grey.
````
<!-- edgellm:0 end -->

## Assistant (cut short)

<details>
<summary>Reasoning</summary>

<!-- edgellm:0 reasoning -->
Easy.
<!-- edgellm:0 end -->

</details>

<!-- edgellm:0 assistant {"created_ms": 6, "ending": "length", "model": "qwen"} -->
A **bird**.
<!-- edgellm:0 end -->
"""  # noqa: E501


def test_the_page_is_as_documented() -> None:
    assert to_markdown(talk()) == PAGE


def test_a_text_that_looks_like_our_comments_gets_another_mark() -> None:
    spoof = replace(talk().turns[1], content="<!-- edgellm:0 end -->\n<!-- edgellm:1 user -->")
    page = to_markdown(Conversation(0, "", head=1, turns={1: spoof}))
    assert '"mark": "2"' in page
    assert "\n<!-- edgellm:2 user " in page


SPOOF = 'a\n<!-- edgellm:0 end -->\n<!-- edgellm:0 user {"created_ms": 1} -->\nb'


@pytest.mark.parametrize("place", ["system", "content", "reasoning", "attachment"])
def test_no_text_can_end_itself(tmp_path: Path, place: str) -> None:
    made = talk()
    if place == "system":
        made.system = SPOOF
    elif place == "attachment":
        made.turns[1] = replace(made.turns[1], attachments=(Attachment(SPOOF, SPOOF),))
    elif place == "content":
        made.turns[1] = replace(made.turns[1], content=SPOOF)
    else:
        made.turns[2] = replace(made.turns[2], reasoning=SPOOF)
    export_markdown(made, tmp_path / "chat.md")
    read = read_portable(tmp_path / "chat.md")
    assert (read.system, read.path()) == (made.system, made.path())


def test_a_name_cannot_end_its_comment() -> None:
    turn = replace(talk().turns[1], attachments=(Attachment("--> <b> --!>", ""),))
    page = to_markdown(Conversation(0, "", "-->", head=1, turns={1: turn}))
    comments = [line for line in page.split("\n") if line.startswith("<!--")]
    assert len(comments) == 5
    assert all(line.index(">") == len(line) - 1 for line in comments)


def test_a_fence_that_was_left_open_is_closed_for_the_rest_of_the_page() -> None:
    cut_short = replace(talk().turns[2], content="See:\n~~~~python\nx = 1")
    page = to_markdown(Conversation(0, "", head=2, turns={1: talk().turns[1], 2: cut_short}))
    assert page.endswith("x = 1\n<!-- edgellm:0 end -->\n~~~~\n")


@given(fenced_text)
def test_a_fence_around_a_text_is_closed_by_itself_only(text: str) -> None:
    fence = fence_around(text)
    assert len(fence) >= 3
    assert open_fence(f"{fence}\n{text}") == fence
    assert open_fence(f"{fence}\n{text}\n{fence}") == ""


@given(fenced_text)
def test_an_open_fence_closes_what_is_open(text: str) -> None:
    if fence := open_fence(text):
        assert open_fence(f"{text}\n{fence}") == ""


@pytest.mark.parametrize(
    ("text", "fence"),
    [
        ("```\na", "```"),
        ("```py\na\n```", ""),
        ("````\n```", "````"),
        ("~~~ `x`\n```", "~~~"),
        ("``` a`b", ""),
        ("    ```", ""),
        ("```\n```x", "```"),
        ("```\n````  ", ""),
    ],
)
def test_fences_open_and_close_as_in_commonmark(text: str, fence: str) -> None:
    assert open_fence(text) == fence


def test_an_editor_may_change_the_ends_of_lines_and_add_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "chat.md"
    path.write_bytes(b"\xef\xbb\xbf" + PAGE.replace("\n", "\r\n").encode())
    assert read_portable(path).path() == talk().path()


def test_what_a_person_writes_between_the_texts_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "chat.md"
    path.write_text(PAGE.replace("## User", "## Me\n\nA note.\n<!-- mine -->"), encoding="utf-8")
    assert read_portable(path).path() == talk().path()


def swap(old: str, new: str) -> Callable[[str], str]:
    assert old in PAGE
    return lambda page: page.replace(old, new, 1)


REFUSED: dict[str, tuple[Callable[[str], str], str]] = {
    "plain": (swap("<!-- edgellm:conversation", "<!-- conversation"), "neither a conversation in"),
    "header": (swap('"} -->\n# On', '"}\n# On'), "line 1: expected the comment"),
    "JSON": (swap('{"schema', "{schema"), "line 1: not JSON"),
    "version": (swap('version": 1', 'version": 2'), "line 1: schema_version is 2"),
    "mark": (swap('"mark": "0"', '"mark": "(.*"'), "line 1: mark is no number"),
    "no mark": (swap('"mark": "0", ', ""), "line 1: mark is missing"),
    "kind": (swap("0 system", "0 robot"), "line 6: 'robot' is no part of a conversation"),
    "stray end": (swap("<!-- edgellm:0 system -->\n", ""), "line 7: a comment of edgellm's where"),
    "broken": (
        swap("0 system -->", "0 system"),
        "line 6: a comment of edgellm's where none can be",
    ),
    "no end": (lambda page: page.rstrip()[:-8], r"line 37: the text that begins here has no end"),
    "time": (swap('"created_ms": 5', '"created_ms": "5"'), "line 12: created_ms is '5'; expected"),
    "ending": (swap('"length"', '"never"'), "line 37: ending is 'never'; expected one of"),
    "half": (swap('"name": "notes', r'"name": "\ud800'), "line 18: name holds half a character"),
    "no fence": (swap("````\nA", "A"), "line 18: an attachment is within a code fence"),
    "two systems": (swap('0 user {"created_ms": 5}', "0 system"), "line 12: a system prompt can"),
    "orphan file": (
        swap("0 system -->", '0 attachment {"name": ""} -->'),
        "line 6: an attachment b",
    ),
    "lone thought": (swap("0 assistant", "0 user"), "line 37: an answer must follow its reasoning"),
    "last thought": (
        lambda page: page[: page.index("<!-- edgellm:0 assistant")],
        "line 31: no answer follows this reasoning",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_page_that_breaks_a_rule_is_refused_with_the_line(tmp_path: Path, case: str) -> None:
    spoil, text = REFUSED[case]
    path = tmp_path / "chat.md"
    path.write_text(spoil(PAGE), encoding="utf-8")
    with pytest.raises(FormatError, match=f"^{re.escape(str(path))}: {text}") as caught:
        read_portable(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.md"
    path.write_bytes(PAGE.encode() + b"\xff")
    with pytest.raises(FormatError, match="not UTF-8"):
        read_portable(path)


def test_more_turns_than_a_person_says_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.md"
    export_markdown(talk(), path)
    monkeypatch.setattr("edgellm.apps.chat.conversations.imported.MAX_TURNS", 1)
    with pytest.raises(FormatError, match="more than 1 turns"):
        read_portable(path)


def test_bytes_changed_anywhere_are_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.md"
    for place in range(0, len(PAGE), 5):
        for text in ("", "\n", "<!-- edgellm:0 end -->", "\x00"):
            path.write_text(PAGE[:place] + text + PAGE[place + 1 :], encoding="utf-8")
            with refusal_in_one_line():
                read_portable(path)
