"""What a caller hears of an answer: the engine's events, with what only the host can add."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from time import monotonic

from edgellm.events import ContextTrimmed, Done, Event, MemorySample, MemoryUse, TextDelta
from edgellm.runtimes.host.dialects import DialectParser
from edgellm.runtimes.said import Said

SAMPLE_INTERVAL_S = 1.0


class Narration:
    """One answer's events as they go to the caller."""

    def __init__(
        self, parser: DialectParser, memory: Callable[[], MemoryUse], dropped: Callable[[], int]
    ) -> None:
        """memory: a measurement. dropped: messages that left the context since last asked."""
        self._parser = parser
        self._memory = memory
        self._dropped = dropped
        self._said = Said()
        self._sampled_at = monotonic()

    def tell(self, events: Iterable[Event]) -> Iterator[Event]:
        """The same answer parsed, measured about once a second, and summed up in its Done."""
        for event in events:
            match event:
                case TextDelta():
                    yield from self._parsed(self._parser.feed(event))
                case ContextTrimmed():
                    yield replace(event, dropped_messages=self._dropped())
                case Done():
                    yield from self._parsed(self._parser.end())
                    yield MemorySample(self._memory())
                    yield self._summed_up(event)
                case _:
                    yield event
            if monotonic() - self._sampled_at >= SAMPLE_INTERVAL_S:
                self._sampled_at = monotonic()
                yield MemorySample(self._memory())

    def _parsed(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            self._said.hear(event)
            yield event

    def _summed_up(self, done: Done) -> Done:
        calls_tools = bool(self._said.tool_calls) and done.stop_reason in ("end", "stop")
        reason = "tool_call" if calls_tools else done.stop_reason
        return self._said.summed_up(replace(done, stop_reason=reason))
