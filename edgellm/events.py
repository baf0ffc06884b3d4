"""What a running model tells its caller, in the order it happens; `type` names the wire event."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """Share of the model's bytes read so far."""

    type: ClassVar[str] = "load.progress"
    fraction: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """Prompt tokens whose KV state is ready."""

    type: ClassVar[str] = "prefill.progress"
    cached: int  # tokens that needed no work
    processed: int  # tokens done, cached ones included
    total: int


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely the model found one token."""

    token: int
    text: str  # bytes that are no whole character are shown as U+FFFD
    logprob: float  # natural logarithm, before temperature and filters


@dataclass(frozen=True, slots=True)
class TokenLikelihoods:
    """The token that was taken, and the likeliest ones in its place."""

    taken: Likelihood
    top: tuple[Likelihood, ...]  # likeliest first


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New text of the answer; whole characters only."""

    type: ClassVar[str] = "text.delta"
    text: str
    likelihoods: tuple[TokenLikelihoods, ...] = ()  # of the tokens since the last delta, if asked


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """New text of what the model thinks before it answers."""

    type: ClassVar[str] = "reasoning.delta"
    text: str
    likelihoods: tuple[TokenLikelihoods, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool."""

    type: ClassVar[str] = "tool_call"
    id: str  # unique within the conversation
    name: str
    arguments: str  # a JSON object, as the model wrote it


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Measured bytes, by the component names of a plan's MemoryParts.

    All are the engine's process alone: the one that renders chat templates beside it is not in
    them, nor in a plan. It has 11 MiB of its own, while there is a chat.
    """

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int  # scratch for one ubatch, and the logits
    resident_bytes: int  # of the engine's whole process, mapped weights that were touched included


@dataclass(frozen=True, slots=True)
class MemorySample:
    """What the model's process takes now."""

    type: ClassVar[str] = "memory.sample"
    use: MemoryUse


@dataclass(frozen=True, slots=True)
class ContextFull:
    """The context holds no more tokens: the answer ends here, or the prompt is too long."""

    type: ClassVar[str] = "context.full"
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class ContextTrimmed:
    """The oldest turns left the context to make room; the system message stayed."""

    type: ClassVar[str] = "context.trimmed"
    dropped_messages: int
    dropped_tokens: int
    used: int  # tokens of the context in use afterwards
    limit: int


@dataclass(frozen=True, slots=True)
class EngineFallback:
    """The engine runs in a slower or smaller way than asked, and why."""

    type: ClassVar[str] = "engine.fallback"
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int = 0  # of the prompt, that needed no work
    drafted_tokens: int = 0  # proposed by speculation
    accepted_tokens: int = 0  # of those, confirmed by the model


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds by phase, on a monotonic clock."""

    load_s: float
    prefill_s: float
    decode_s: float
    first_token_s: float  # from the request to the first sampled token

    def rate(self, tokens: int, seconds: float) -> float:
        """Tokens per second; 0 when no time was measured."""
        return tokens / seconds if seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer.

    stop_reason: "end", "stop", "length", "tool_call", "context_full" or "cancelled".
    """

    type: ClassVar[str] = "done"
    usage: Usage
    timings: Timings
    stop_reason: str
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


Event = (
    LoadProgress
    | PrefillProgress
    | TextDelta
    | ReasoningDelta
    | ToolCall
    | MemorySample
    | ContextFull
    | ContextTrimmed
    | EngineFallback
    | Done
)

EVENTS: Mapping[str, type[Event]] = MappingProxyType(
    {
        kind.type: kind
        for kind in (
            LoadProgress,
            PrefillProgress,
            TextDelta,
            ReasoningDelta,
            ToolCall,
            MemorySample,
            ContextFull,
            ContextTrimmed,
            EngineFallback,
            Done,
        )
    }
)
