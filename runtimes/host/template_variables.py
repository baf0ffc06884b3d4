"""Conversations and tools as chat templates read them: the names and shapes of transformers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgellm.errors import InputError, UsageError
from edgellm.events import ToolCall
from edgellm.runtimes.messages import Message, Tool


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Each message as a dictionary that has only the keys that mean something for it."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    return [_message(message, names) for message in messages]


def template_tools(tools: Sequence[Tool]) -> list[dict[str, Any]] | None:
    """None where there are none, as templates expect. Raises UsageError for a bad schema."""
    return [_tool(tool) for tool in tools] or None


def _message(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        shown["reasoning_content"] = message.reasoning
    if message.tool_calls:
        shown["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        shown["tool_call_id"] = message.tool_call_id
        shown["name"] = names.get(message.tool_call_id, "")
    return shown


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.arguments)
    except ValueError as error:
        raise InputError(f"tool call {call.id}: its arguments are no JSON: {error}") from None
    function = {"name": call.name, "arguments": arguments}
    return {"type": "function", "id": call.id, "function": function}


def _tool(tool: Tool) -> dict[str, Any]:
    try:
        parameters = json.loads(tool.parameters)
    except ValueError as error:
        raise UsageError(f"tool {tool.name}: its parameters are no JSON Schema: {error}") from None
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}
