"""What an answer has said so far, gathered from its events."""

from dataclasses import replace

from edgellm.events import Done, Event, ReasoningDelta, TextDelta, ToolCall


class Said:
    """Grows with an answer's events, at both ends of a connection: either may lose the other."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.tool_calls: list[ToolCall] = []

    def hear(self, event: Event | None) -> None:
        match event:
            case TextDelta():
                self._text.append(event.text)
            case ReasoningDelta():
                self._reasoning.append(event.text)
            case ToolCall():
                self.tool_calls.append(event)
            case _:
                pass

    @property
    def text(self) -> str:
        return "".join(self._text)

    def summed_up(self, done: Done) -> Done:
        """The end of the answer, with all that was said."""
        reasoning, calls = "".join(self._reasoning), tuple(self.tool_calls)
        return replace(done, text=self.text, reasoning=reasoning, tool_calls=calls)
