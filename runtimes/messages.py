"""Conversations as every chat template knows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgellm.events import ToolCall


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str  # "system", "user", "assistant" or "tool"; the model's template decides
    content: str
    reasoning: str = ""  # what an assistant thought first
    tool_calls: tuple[ToolCall, ...] = ()  # what an assistant asked for
    tool_call_id: str | None = None  # which call a tool's message answers
    partial: bool = False  # an assistant's turn that was cut short


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str
    parameters: str  # a JSON Schema of the arguments, as JSON text


Prompt = str | Sequence[Message]
