"""A conversation as Markdown: for people to read, and for edgellm to read back.

HTML comments, which a reader of the page does not see, say where each text begins and ends:

    <!-- edgellm:conversation {"schema_version": 1, "mark": "0", "title": "...", "model": "..."} -->
    # Title

    ## System prompt

    <!-- edgellm:0 system -->
    text, exactly as it is
    <!-- edgellm:0 end -->

A text is all between the line ends next to its two comments. `mark` is a number with which no text
of the conversation has a comment of this form, so nothing in a text needs to be escaped. What is
outside of the comments' pairs is for people, and ignored. The other pairs are

    user {"created_ms": 0}
    reasoning       before the answer that it led to
    assistant {"created_ms": 0, "ending": "end", "model": "..."}
    attachment {"name": "..."}      of the user's turn before it; within a code fence

`>` in JSON is written as an escape. A file holds the turns of one path; cuts, settings, figures and
other branches are only in the JSON form.
"""

import json
import re
from collections.abc import Iterator, Mapping

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.fences import fence_around, open_fence
from edgellm.apps.chat.conversations.imported import SCHEMA_VERSION
from edgellm.apps.chat.conversations.records import Attachment, Turn
from edgellm.apps.chat.conversations.texts import flat

BEGINNING = "<!-- edgellm:conversation "
_USED_MARK = re.compile(r"<!-- edgellm:([0-9]+) ")
Facts = Mapping[str, object]
_NONE: Facts = {}


def to_markdown(conversation: Conversation) -> str:
    """The turns from the first to the head."""
    return "\n".join(_Writer(conversation).lines())


class _Writer:
    """Writes one conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._path = conversation.path()
        self._mark = self._unused_mark()

    def lines(self) -> Iterator[str]:
        title, system = self._conversation.title, self._conversation.system
        facts = {
            "schema_version": SCHEMA_VERSION,
            "mark": self._mark,
            "title": title,
            "model": self._conversation.model,
        }
        yield f"{BEGINNING}{_json(facts)} -->"
        yield f"# {flat(title).strip() or 'Conversation'}"
        yield ""
        if system:
            yield from ("## System prompt", "", *self._text("system", system))
        for turn in self._path:
            yield from self._turn(turn)

    def _turn(self, turn: Turn) -> Iterator[str]:
        if turn.role == "user":
            yield from ("## User", "")
            yield from self._text("user", turn.content, {"created_ms": turn.created_ms})
            for attachment in turn.attachments:
                yield from self._attachment(attachment)
            return
        yield from (f"## Assistant{' (cut short)' if turn.is_partial else ''}", "")
        if turn.reasoning:
            yield from ("<details>", "<summary>Reasoning</summary>", "")
            yield from self._text("reasoning", turn.reasoning)
            yield from ("</details>", "")
        facts = {"created_ms": turn.created_ms, "ending": turn.ending, "model": turn.model}
        yield from self._text("assistant", turn.content, facts)

    def _attachment(self, attachment: Attachment) -> Iterator[str]:
        fence = fence_around(attachment.text)
        yield from (f"Attachment: {flat(attachment.name)}", "")
        yield self._begin("attachment", {"name": attachment.name})
        yield from (fence, attachment.text, fence, self._end, "")

    def _text(self, kind: str, text: str, facts: Facts = _NONE) -> Iterator[str]:
        yield from (self._begin(kind, facts), text, self._end)
        if fence := open_fence(text):  # or all that follows would be shown as code
            yield fence
        yield ""

    def _begin(self, kind: str, facts: Facts) -> str:
        return f"<!-- edgellm:{self._mark} {kind}{' ' if facts else ''}{_json(facts)} -->"

    @property
    def _end(self) -> str:
        return f"<!-- edgellm:{self._mark} end -->"

    def _unused_mark(self) -> str:
        used: set[str] = set()
        for text in self._texts():
            used.update(_USED_MARK.findall(text))
        return next(mark for mark in map(str, range(len(used) + 1)) if mark not in used)

    def _texts(self) -> Iterator[str]:
        yield self._conversation.system
        for turn in self._path:
            yield turn.content
            yield turn.reasoning
            yield from (attachment.text for attachment in turn.attachments)


def _json(facts: Facts) -> str:
    """For within a comment; empty for no facts."""
    return json.dumps(facts).replace(">", "\\u003e") if facts else ""
