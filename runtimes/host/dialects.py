"""How models write down what they think and which tools they call, and reading it back.

A family's way shows in its chat template. Each is one row of a table: the texts around it, and how
what lies between is read.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from edgellm.events import Event, ReasoningDelta, TextDelta, TokenLikelihoods, ToolCall

_ID_BYTES = 5
_ID_CHARACTERS = 9  # Mistral's templates refuse any other number


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What stands around a thought; it comes before the answer."""

    opening: str
    closing: str

    def is_open(self, prompt: str) -> bool:
        """Whether what the model writes next is a thought."""
        return prompt.rstrip().endswith(self.opening)


@dataclass(frozen=True, slots=True)
class CallStyle:
    """How calls of tools are written."""

    sign: re.Pattern[str]  # found in the templates of those who write so
    openings: tuple[str, ...]
    closing: str  # empty where a call goes on to the end of the answer
    bare: str  # a call may also begin the answer, with this
    read: Callable[[str], "list[Call] | None"]  # None for what is no call


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it was written, not yet numbered."""

    name: str
    arguments: str


class _Written(msgspec.Struct):
    """One call in JSON; Llama says parameters for arguments."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


def _read_objects(text: str) -> list[Call] | None:
    """JSON objects, one after the other or in an array."""
    calls: list[Call] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        if text[at] in " \t\r\n,;[]":
            at += 1
            continue
        try:
            found, stop = json.JSONDecoder().raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        if (call := _read_object(text[at:stop])) is None or not isinstance(found, dict):
            return None
        calls.append(call)
        at = stop
    return calls or None


def _read_object(text: str) -> Call | None:
    try:
        written = msgspec.json.decode(text, type=_Written)
        raw = bytes(written.arguments) or bytes(written.parameters) or b"{}"
        if raw[:1] == b'"':  # some write the arguments as a text that holds them
            raw = msgspec.json.decode(raw, type=str).encode()
        msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return Call(written.name, raw.decode())


def _read_mistral(text: str) -> list[Call] | None:
    """An array of objects, or, since 2025, name[ARGS]{...} for each call."""
    if text.lstrip()[:1] in ("[", "{"):
        return _read_objects(text)
    calls = []
    for part in text.split("[TOOL_CALLS]"):
        name, _, arguments = part.partition("[ARGS]")
        quoted = json.dumps(name.strip())
        call = _read_object(f'{{"name": {quoted}, "arguments": {arguments}}}')
        if call is None or not name.strip():
            return None
        calls.append(call)
    return calls


REASONING = (Reasoning("<think>", "</think>"), Reasoning("[THINK]", "[/THINK]"))
CALL_STYLES = (
    CallStyle(re.compile("<tool_call>"), ("<tool_call>",), "</tool_call>", "", _read_objects),
    CallStyle(re.compile(r"\[TOOL_CALLS\]"), ("[TOOL_CALLS]",), "", "", _read_mistral),
    CallStyle(
        re.compile(r'<\|python_tag\|>|\{\\?"name\\?": function name'),
        ("<|python_tag|>",),
        "",
        "{",
        _read_objects,
    ),
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A model's way to think and to call tools; None for what it has no way for."""

    reasoning: Reasoning | None = None
    calls: CallStyle | None = None

    @classmethod
    def of(cls, chat_template: str | None) -> "Dialect":
        """Told by what the template's text contains."""
        text = chat_template or ""
        return cls(
            next((way for way in REASONING if way.closing in text), None),
            next((style for style in CALL_STYLES if style.sign.search(text)), None),
        )

    @property
    def shown(self) -> tuple[str, ...]:
        """Control tokens whose text the parser needs to see."""
        thought = (self.reasoning.opening, self.reasoning.closing) if self.reasoning else ()
        if self.calls is None:
            return thought
        ends = (self.calls.closing,) if self.calls.closing else ()
        extra = ("[ARGS]",) if "[TOOL_CALLS]" in self.calls.openings else ()
        return (*thought, *self.calls.openings, *ends, *extra)

    def without_thought(self, prompt: str) -> str:
        """The prompt of an answer that may not begin with a thought, such as one in JSON."""
        if self.reasoning and self.reasoning.is_open(prompt):
            return prompt.rstrip("\n") + f"\n\n{self.reasoning.closing}\n\n"
        return prompt

    def parser(self, *, tools: bool, opened: str = "") -> "DialectParser":
        """For one answer. opened: what the prompt ended with; it may have begun a thought."""
        return DialectParser(self.reasoning, self.calls if tools else None, opened)


class DialectParser:
    """Sorts the text of one answer as it comes; nothing but the marks and newlines after them
    is left out. A call that cannot be read stays text.
    """

    def __init__(self, reasoning: Reasoning | None, calls: CallStyle | None, opened: str) -> None:
        self._reasoning = reasoning
        self._calls = calls
        self._held = ""
        self._mark = ""  # that began the call being read
        self._likelihoods: list[TokenLikelihoods] = []
        self._after_mark = False  # newlines that follow belong to it
        self._fresh = True  # nothing but space was said yet
        self._state = self._text
        if reasoning and reasoning.is_open(opened):
            self._state = self._thought
            self._after_mark = not opened.endswith("\n")

    def feed(self, delta: TextDelta) -> list[Event]:
        """What is certain now."""
        self._held += delta.text
        self._likelihoods += delta.likelihoods
        return list(self._sort(last=False))

    def end(self) -> list[Event]:
        """The rest, once no more text will come."""
        events = list(self._sort(last=True))
        if self._likelihoods:
            events.append(TextDelta("", self._taken()))
        return events

    def _sort(self, *, last: bool) -> Iterator[Event]:
        state = None
        while state != self._state and (self._held or last):
            if self._after_mark:
                self._held = self._held.lstrip("\n")
                self._after_mark = not self._held
            state = self._state
            yield from state(last)

    def _text(self, last: bool) -> Iterator[Event]:
        before, mark = self._next_mark()
        if mark is None:
            yield from self._say(TextDelta, self._certain(self._marks(), last))
            return
        yield from self._say(TextDelta, before)
        self._held = self._held[len(before) + len(mark) :]
        self._mark = mark
        is_thought = self._reasoning is not None and mark == self._reasoning.opening
        self._state = self._thought if is_thought else self._call
        self._after_mark = is_thought

    def _thought(self, last: bool) -> Iterator[Event]:
        assert self._reasoning is not None
        closing = self._reasoning.closing
        before, found, after = self._held.partition(closing)
        if not found:
            yield from self._say(ReasoningDelta, self._certain((closing,), last))
            return
        yield from self._say(ReasoningDelta, before)
        self._held = after
        self._reasoning = None  # a thought comes once
        self._state, self._after_mark = self._text, True

    def _call(self, last: bool) -> Iterator[Event]:
        assert self._calls is not None
        closing = self._calls.closing
        end = _outside_strings(self._held, closing) if closing else -1
        if end < 0 and not last:
            return
        written = self._held if end < 0 else self._held[:end]
        calls = self._calls.read(written)
        self._state, self._fresh = self._text, False
        if calls is None:
            yield TextDelta(self._mark, self._taken())
            return
        self._held = "" if end < 0 else self._held[end + len(closing) :]
        self._after_mark = True
        for call in calls:
            yield ToolCall(secrets.token_hex(_ID_BYTES)[:_ID_CHARACTERS], call.name, call.arguments)

    def _marks(self) -> tuple[str, ...]:
        """What may begin something else here."""
        thought = (self._reasoning.opening,) if self._reasoning and self._fresh else ()
        return thought + (self._calls.openings if self._calls else ())

    def _next_mark(self) -> tuple[str, str | None]:
        """(the text before it, the first mark) in what is held; (_, None) for none."""
        said = self._held.lstrip()
        space = self._held[: len(self._held) - len(said)]
        if self._calls and self._calls.bare and self._fresh and said.startswith(self._calls.bare):
            return space, ""
        found = [(self._held.find(mark), mark) for mark in self._marks()]
        thought = self._reasoning.opening if self._reasoning else ""
        # A thought begins the answer; later its mark is a text like any other.
        found = [
            (at, mark) for at, mark in found if at >= 0 and (mark != thought or at == len(space))
        ]
        if not found:
            return "", None
        at, mark = min(found)
        return self._held[:at], mark

    def _certain(self, marks: tuple[str, ...], last: bool) -> str:
        """Take out what cannot be the beginning of a mark."""
        keep = 0 if last else _begun(self._held, marks)
        certain = self._held[: len(self._held) - keep]
        self._held = self._held[len(certain) :]
        return certain

    def _say(self, kind: type[TextDelta] | type[ReasoningDelta], text: str) -> Iterator[Event]:
        if text:
            self._fresh = self._fresh and (kind is ReasoningDelta or not text.strip())
            yield kind(text, self._taken())

    def _taken(self) -> tuple[TokenLikelihoods, ...]:
        taken, self._likelihoods = tuple(self._likelihoods), []
        return taken


def _outside_strings(text: str, closing: str) -> int:
    """Where the closing mark stands outside the texts of the JSON before it; -1 for nowhere."""
    at = text.find(closing)
    while at >= 0 and re.sub(r"\\.", "", text[:at]).count('"') % 2:
        at = text.find(closing, at + 1)
    return at


def _begun(text: str, marks: tuple[str, ...]) -> int:
    """Length of the longest end of the text that begins one of the marks."""
    longest = max(map(len, marks), default=0) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0
