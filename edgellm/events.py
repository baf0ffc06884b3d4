"""What a running model tells its caller, in the order it happens; `type` names the wire event."""

from dataclasses import dataclass, field
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
class TextDelta:
    """New text of the answer; whole characters only."""

    type: ClassVar[str] = "text.delta"
    text: str


@dataclass(frozen=True, slots=True)
class ContextFull:
    """Generation stopped because the context holds no more tokens."""

    type: ClassVar[str] = "context.full"
    used: int
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
    """The end of an answer. stop_reason: "end", "stop", "length", "context_full", "cancelled"."""

    type: ClassVar[str] = "done"
    usage: Usage
    timings: Timings
    stop_reason: str
    text: str = field(default="")


Event = LoadProgress | PrefillProgress | TextDelta | ContextFull | EngineFallback | Done
