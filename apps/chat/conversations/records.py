"""What a conversation consists of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from edgellm.jsonfields import JsonObject

ROLES = ("user", "assistant")
FAILED = "failed"  # the engine failed after its first words
EDITED = "edited"  # a person rewrote the answer
UNFINISHED = "unfinished"  # still being written, or the program died while it was
CUT_SHORT = frozenset({"length", "context_full", "cancelled", FAILED, UNFINISHED})
# How an answer may end: the stop reasons of edgellm.events.Done, and our own.
ENDINGS = frozenset({"end", "stop", "tool_call", EDITED}) | CUT_SHORT


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text that was sent along."""

    name: str  # for people and for the model; no path that anybody opens
    text: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What an answer took."""

    prompt_tokens: int
    cached_tokens: int  # of the prompt, that needed no work
    generated_tokens: int
    prefill_s: float
    decode_s: float
    first_token_s: float  # from the request to the first token

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def read(cls, fields: JsonObject) -> "Figures":
        fields.only(*cls.__dataclass_fields__)
        return cls(
            fields.integer("prompt_tokens"),
            fields.integer("cached_tokens"),
            fields.integer("generated_tokens"),
            fields.number("prefill_s"),
            fields.number("decode_s"),
            fields.number("first_token_s"),
        )


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; never changed once it has ended."""

    id: int  # grows with time: a turn is older than those that follow it
    parent: int | None  # the turn that it follows
    role: str  # "user" or "assistant"
    content: str
    reasoning: str = ""  # what an assistant thought first
    attachments: tuple[Attachment, ...] = ()
    ending: str = ""  # one of ENDINGS; empty for a user's turn
    model: str = ""  # that answered
    figures: Figures | None = None
    created_ms: int = 0  # since 1970

    @property
    def is_partial(self) -> bool:
        """Whether this answer was cut short."""
        return self.ending in CUT_SHORT


@dataclass(frozen=True, slots=True)
class Cut:
    """Everything up to and including a turn is no longer sent to the model."""

    turn: int
    summary: str  # stands for what is left out; may be empty


@dataclass(frozen=True, slots=True)
class Listed:
    """A conversation in a list."""

    id: int
    uid: str
    title: str
    model: str
    turns: int  # on all branches
    updated_ms: int  # when the last turn was added or ended
    excerpt: str  # beginning of the user's last text, in one line


@dataclass(frozen=True, slots=True)
class Preset:
    """A system prompt by name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A turn that was found."""

    conversation: int
    turn: int
    title: str
    excerpt: str  # one line around the first match
    marks: tuple[tuple[int, int], ...]  # spans of the excerpt that match, in order
    updated_ms: int  # of the conversation


Settings = Mapping[str, object]  # of a conversation: whatever JSON can hold; the app gives it sense
