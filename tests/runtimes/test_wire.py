"""What crosses between processes: everything arrives whole, and nothing else is believed."""

from pathlib import Path

import msgspec
import pytest

from edgellm.errors import EdgeLLMError, RuntimeFailure
from edgellm.events import (
    EVENTS,
    ContextFull,
    ContextTrimmed,
    Done,
    EngineFallback,
    Event,
    Likelihood,
    LoadProgress,
    MemorySample,
    MemoryUse,
    PrefillProgress,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLikelihoods,
    ToolCall,
    Usage,
)
from edgellm.runtimes.api.calls import Call
from edgellm.runtimes.api.client import Client
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.local import LocalConnection
from edgellm.runtimes.messages import Message, Tool
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import ModelInfo
from edgellm.runtimes.wire import (
    Conversation,
    GenerateCall,
    LoadCall,
    Loaded,
    decode,
    encode,
    encode_event,
    received,
    received_event,
)

TAKEN = Likelihood(7, "a\ufffd", -0.5)
SOME: tuple[Event, ...] = (
    LoadProgress(0.5),
    PrefillProgress(1, 2, 3),
    TextDelta("é\n", (TokenLikelihoods(TAKEN, (TAKEN, TAKEN)),)),
    ReasoningDelta("hm"),
    ToolCall("id", "name", "{}"),
    MemorySample(MemoryUse(1, 2, 3, 1 << 40)),
    ContextFull(1, 2),
    ContextTrimmed(1, 2, 3, 4),
    EngineFallback("because"),
    Done(Usage(1, 2, 3, 4, 5), Timings(1, 2, 3, 4), "end", "a", "b", (ToolCall("i", "n", "{}"),)),
)


def test_every_event_arrives_as_it_was_sent() -> None:
    assert {type(event) for event in SOME} == set(EVENTS.values())
    assert [received_event(encode_event(event), "toy") for event in SOME] == list(SOME)


def test_the_bodies_of_calls_arrive_as_they_were_sent() -> None:
    message = Message("tool", "rain", "hm", (ToolCall("i", "n", "{}"),), "i", partial=True)
    past = Conversation((message,), (Tool("n", "d", "{}"),), False, "shift", 3)
    bodies = (
        LoadCall("llama.cpp", b"/a\xff", LoadOptions(context=9), None),
        GenerateCall(past, SamplingOptions(seed=1, stop=("a", "b")), "root ::= [a]", 2),
        GenerateCall("text", SamplingOptions()),
        Loaded(ModelInfo(1, None, "", "", SamplingOptions(), True, 0.5), MemoryUse(1, 2, 3, 4)),
    )
    assert tuple(decode(type(body), encode(body)) for body in bodies) == bodies


HOSTILE = {
    "nothing": b"",
    "noise": b"\xc1\xff\x00",
    "a number": msgspec.msgpack.encode(7),
    "an event of no name": msgspec.msgpack.encode(("load.progres", {"fraction": 1})),
    "a text for a number": msgspec.msgpack.encode(("context.full", {"used": "1", "limit": 2})),
    "a field too few": msgspec.msgpack.encode(("context.full", {"used": 1})),
    "bytes that are no text": b"\x92\xaatext.delta\x81\xa4text\xa1\xff",
    "a truncated event": encode_event(SOME[-1])[:-1],
    "a name that is no text": b"\x92\xaatext.delt\xff\x80",
    "nesting without end": b"\x92\xaatext.delta" + b"\x91" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_event_is_a_failure_of_the_engine(name: str) -> None:
    with pytest.raises(RuntimeFailure, match="toy: its process sent something that is no event"):
        received_event(HOSTILE[name], "toy")


def test_a_result_of_another_type_is_a_failure_of_the_engine() -> None:
    with pytest.raises(RuntimeFailure, match="no MemoryUse"):
        received(MemoryUse, encode(SOME[0]), "toy")
    wild = msgspec.to_builtins(ModelInfo(1, None, "", "", SamplingOptions(), True, 0))
    wild["default_sampling"]["top_p"] = 7
    with pytest.raises(RuntimeFailure, match="top_p"):
        received(ModelInfo, msgspec.msgpack.encode(wild), "toy")


class Liar:
    """Sends nonsense between good events, and a result that is none."""

    def call(self, method: str, body: bytes, emit: object, cancel: CancelToken) -> bytes:
        assert callable(emit)
        for item in (encode_event(TextDelta("a")), b"nonsense", encode_event(TextDelta("b"))):
            emit(item)
        return encode(Vectorless) if method == "embed" else b"\x07"

    def close(self) -> None:
        """Holds nothing."""


Vectorless = {"count": 1 << 60, "width": 1 << 60, "values": b""}


def test_a_host_that_lies_is_a_failure_and_no_more() -> None:
    info = ModelInfo(1, None, "", "", SamplingOptions(), True, 0)
    with LocalConnection(Liar, "toy") as connection:
        client = Client(connection, "toy", Loaded(info, MemoryUse(0, 0, 0, 0)), Path("toy"))
        seen: list[Event | None] = []
        calls: list[Call[object]] = [
            client.generate(GenerateCall("", SamplingOptions()), seen.append),  # type: ignore[list-item]
            client.embed(["a"]),  # type: ignore[list-item]
            client.memory(),  # type: ignore[list-item]
        ]
        for call in calls:
            with pytest.raises(EdgeLLMError, match="toy: its process sent"):
                call.result()
        assert seen == [TextDelta("a"), None]
