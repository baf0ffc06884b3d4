"""What crosses between a host and its callers: the bodies of calls, as MessagePack, read by type.

A model's file may have taken over the process it was loaded in, so nothing that comes back is
believed before it has the type that was expected.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import msgspec

from edgellm.errors import EdgeLLMError, InputError, RuntimeFailure
from edgellm.events import EVENTS, Event, MemoryUse
from edgellm.runtimes.failures import printable_line
from edgellm.runtimes.messages import Message, Tool
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import ModelInfo

T = TypeVar("T")

WHEN_FULL = ("error", "shift")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class LoadCall:
    """Load this model; answered by Loaded, with load.progress and engine.fallback before."""

    engine: str  # a row of RUNTIMES
    path: bytes  # as the file system names it
    options: LoadOptions
    cache_dir: bytes | None  # where findings about this machine are kept


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load has made."""

    info: ModelInfo
    memory: MemoryUse


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages with what else the chat template shows, and how they may be shortened."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    thinking: bool | None = None  # None leaves it to the template
    when_full: str = "error"  # one of WHEN_FULL
    dropped: int = 0  # messages after the system's that earlier answers had to leave out


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """Answer this; the answer ends with Done, with every other event before."""

    prompt: str | Conversation
    sampling: SamplingOptions
    grammar: str | None = None
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class CountCall:
    """Answered by the number of tokens."""

    prompt: str | Conversation


@dataclass(frozen=True, slots=True)
class EmbedCall:
    """Answered by Vectors."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Little-endian float32, [count, width] in C order."""

    count: int
    width: int
    values: bytes


@dataclass(frozen=True, slots=True)
class SaveCall:
    """Keep the KV cache of this conversation; answered by the tokens kept."""

    prompt: Conversation
    path: bytes


@dataclass(frozen=True, slots=True)
class RestoreCall:
    """Take a KV cache back; answered by its tokens."""

    path: bytes


def encode(body: object) -> bytes:
    """Raises InputError for text that is not valid Unicode."""
    try:
        return msgspec.msgpack.encode(body)
    except UnicodeEncodeError as error:
        wrong = error.object[error.start]
        raise InputError(f"the text is not valid Unicode: it holds {wrong!a} alone") from None


def decode(kind: type[T], body: bytes) -> T:
    """The body of a call, which comes from our own side."""
    decoded: T = _read(kind, body)
    return decoded


def received(kind: type[T], body: bytes, engine: str) -> T:
    """What an engine's process sent. Raises RuntimeFailure for anything but a `kind`."""
    try:
        return decode(kind, body)
    except (*_UNREADABLE, EdgeLLMError) as error:
        raise _malformed(kind.__name__, error, engine) from error


def encode_event(event: Event) -> bytes:
    return msgspec.msgpack.encode((event.type, event))


def received_event(item: bytes, engine: str) -> Event:
    """Raises RuntimeFailure for anything but an event."""
    try:
        name, body = _named_event().decode(item)
        event: Event = _read(EVENTS[name], body)
    except (*_UNREADABLE, KeyError, EdgeLLMError) as error:
        raise _malformed("event", error, engine) from error
    return event


def _malformed(expected: str, error: Exception, engine: str) -> RuntimeFailure:
    why = printable_line(str(error))[:_SHOWN_CHARACTERS]
    return RuntimeFailure(engine, f"its process sent something that is no {expected}: {why}")


def _read(kind: Any, body: bytes | msgspec.Raw) -> Any:
    return _decoder(kind).decode(body)


@cache
def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    return msgspec.msgpack.Decoder(kind)


@cache
def _named_event() -> "msgspec.msgpack.Decoder[tuple[str, msgspec.Raw]]":
    return msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
