"""Reads the Markdown that markdown.py writes, which a stranger may have changed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.imported import (
    fault,
    read_ending,
    read_text,
    require_few_turns,
    require_version,
)
from edgellm.apps.chat.conversations.records import Attachment, Turn
from edgellm.errors import FormatError
from edgellm.json_file import parse_json
from edgellm.jsonfields import JsonObject

_HEADER = re.compile(r"<!-- edgellm:conversation (?P<facts>\{.*\}) -->")
_MARK = re.compile("[0-9]{1,18}")
_FENCE = re.compile("`{3,}")


def read_markdown(text: str, path: Path) -> Conversation:
    """A conversation that is not stored yet; `path` is for errors. Raises FormatError."""
    if text.partition("\n")[0].endswith("\r"):  # an editor has changed the end of every line
        text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    found = _HEADER.fullmatch(lines[0])
    if not found:
        raise FormatError(path, "line 1: expected the comment with which edgellm begins an export")
    facts = _facts(path, 1, found["facts"]).only("schema_version", "mark", "title", "model")
    require_version(facts)
    if not _MARK.fullmatch(facts.text("mark")):
        raise fault(facts, "mark", "is no number")
    reader = _Reader(str(path))
    for section in _sections(path, lines, facts.text("mark")):
        reader.take(section)
    return reader.conversation(read_text(facts, "title"), read_text(facts, "model"))


@dataclass(frozen=True, slots=True)
class _Section:
    """A pair of comments with what is between them."""

    kind: str
    facts: JsonObject
    lines: Sequence[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def fault(self, problem: str) -> FormatError:
        return FormatError(self.facts.source, problem)


def _sections(path: Path, lines: list[str], mark: str) -> Iterator[_Section]:
    begin = re.compile(rf"<!-- edgellm:{mark} (?P<kind>[a-z]+)(?: (?P<facts>\{{.*\}}))? -->")
    end = f"<!-- edgellm:{mark} end -->"
    at = 1
    while at < len(lines):
        line, at = lines[at], at + 1
        if not line.startswith(f"<!-- edgellm:{mark} "):
            continue
        found = begin.fullmatch(line)
        if not found or line == end:
            raise FormatError(path, f"line {at}: a comment of edgellm's where none can be")
        facts = _facts(path, at, found["facts"] or "{}")
        try:
            stop = lines.index(end, at)
        except ValueError:
            raise FormatError(path, f"line {at}: the text that begins here has no end") from None
        yield _Section(found["kind"], facts, lines[at:stop])
        at = stop + 1


def _facts(path: Path, number: int, text: str) -> JsonObject:
    """The JSON of the comment in a line."""
    source = f"{path}: line {number}"
    try:
        values = parse_json(text.encode(), path)
    except FormatError as error:
        raise FormatError(source, str(error).removeprefix(f"{path}: ")) from error
    return JsonObject(source, "", values)


class _Reader:
    """Makes turns of sections, one after the other."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._system: str | None = None
        self._thought: _Section | None = None  # whose answer comes next
        self._turns: list[Turn] = []

    def take(self, section: _Section) -> None:
        take = {
            "system": self._take_system,
            "user": self._take_user,
            "reasoning": self._take_reasoning,
            "assistant": self._take_assistant,
            "attachment": self._take_attachment,
        }.get(section.kind)
        if take is None:
            raise section.fault(f"{section.kind!r} is no part of a conversation")
        if self._thought and section.kind != "assistant":
            raise section.fault("an answer must follow its reasoning")
        take(section)
        require_few_turns(self._source, len(self._turns))

    def conversation(self, title: str, model: str) -> Conversation:
        """Everything taken."""
        if self._thought:
            raise self._thought.fault("no answer follows this reasoning")
        turns = {turn.id: turn for turn in self._turns}
        head = self._turns[-1].id if self._turns else None
        return Conversation(0, "", title, self._system or "", model=model, head=head, turns=turns)

    def _take_system(self, section: _Section) -> None:
        section.facts.only()
        if self._system is not None or self._turns:
            raise section.fault("a system prompt can only be the first text")
        self._system = section.text

    def _take_user(self, section: _Section) -> None:
        created_ms = section.facts.only("created_ms").integer("created_ms")
        self._add(Turn(0, None, "user", section.text, created_ms=created_ms))

    def _take_reasoning(self, section: _Section) -> None:
        section.facts.only()
        self._thought = section

    def _take_assistant(self, section: _Section) -> None:
        facts = section.facts.only("created_ms", "ending", "model")
        thought, self._thought = self._thought, None
        answer = Turn(
            0,
            None,
            "assistant",
            section.text,
            thought.text if thought else "",
            ending=read_ending(facts),
            model=read_text(facts, "model"),
            created_ms=facts.integer("created_ms"),
        )
        self._add(answer)

    def _take_attachment(self, section: _Section) -> None:
        name = read_text(section.facts.only("name"), "name")
        if not self._turns or self._turns[-1].role != "user":
            raise section.fault("an attachment belongs to a user's turn before it")
        first, *text, last = section.lines if len(section.lines) > 1 else ("", "")
        if not _FENCE.fullmatch(first) or first != last:
            raise section.fault("an attachment is within a code fence")
        turn = self._turns[-1]
        attachment = Attachment(name, "\n".join(text))
        self._turns[-1] = replace(turn, attachments=(*turn.attachments, attachment))

    def _add(self, turn: Turn) -> None:
        number = len(self._turns) + 1
        self._turns.append(replace(turn, id=number, parent=number - 1 or None))
