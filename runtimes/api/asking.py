"""From the options of one answer, as a caller gives them, to the call that asks for it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypedDict

from edgellm.errors import UsageError
from edgellm.runtimes.messages import Message, Prompt, Tool
from edgellm.runtimes.options import SamplingOptions
from edgellm.runtimes.wire import WHEN_FULL, Conversation, GenerateCall


class AnswerOptions(TypedDict, total=False):
    """The keyword arguments of one answer; sampling that is not given is the model's own."""

    temperature: float  # 0 always takes the likeliest token
    top_k: int  # 0 keeps every token
    top_p: float  # 1 keeps every token
    min_p: float  # 0 keeps every token
    repeat_penalty: float  # 1 is none
    repeat_last_n: int  # tokens the penalty looks back on
    seed: int | None  # the same seed gives the same text
    max_tokens: int | None  # None goes on until the model ends or the context is full
    stop: str | Sequence[str]  # texts that end the answer and are not shown
    ignore_end: bool  # go on where the model would end, as measuring speed needs
    json_schema: str | Mapping[str, Any]  # the answer is JSON that fits it
    grammar: str  # GBNF that the answer follows
    logprobs: int  # how many likely tokens to report beside each one taken
    tools: Sequence[Tool]  # what the model may ask for; conversations only
    thinking: bool  # whether to think first, where the template lets one choose


_SHOWN_CHARACTERS = 80
_SAMPLING = frozenset(field.name for field in fields(SamplingOptions))


def generate_call(
    prompt: Prompt,
    defaults: SamplingOptions,
    options: AnswerOptions,
    *,
    when_full: str = "error",
    dropped: int = 0,
) -> GenerateCall:
    """Raises UsageError for options that mean nothing, or not together."""
    _check(prompt, options)
    logprobs = options.get("logprobs")
    return GenerateCall(
        prompt if isinstance(prompt, str) else conversation(prompt, options, when_full, dropped),
        sampling(defaults, options),
        grammar(options),
        logprobs,
    )


def conversation(
    messages: Sequence[Message],
    options: AnswerOptions,
    when_full: str = "error",
    dropped: int = 0,
) -> Conversation:
    """Raises UsageError for an unknown policy."""
    if when_full not in WHEN_FULL:
        raise UsageError(f"when_full is {when_full!r}; expected {' or '.join(WHEN_FULL)}")
    for message in messages:
        if not isinstance(message, Message) or not isinstance(message.content, str):
            raise UsageError(f"a message is {_shown(message)}; expected a Message with a text")
    for tool in options.get("tools", ()):
        if not isinstance(tool, Tool):
            raise UsageError(f"a tool is {_shown(tool)}; expected a Tool")
    return Conversation(
        tuple(messages),
        tuple(options.get("tools", ())),
        options.get("thinking"),
        when_full,
        dropped,
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def sampling(defaults: SamplingOptions, options: AnswerOptions) -> SamplingOptions:
    """The model's own sampling with what was given in its place."""
    given: dict[str, Any] = {name: value for name, value in options.items() if name in _SAMPLING}
    if "stop" in given:
        stop = given["stop"]
        given["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    return replace(defaults, **given)


def grammar(options: AnswerOptions) -> str | None:
    """The grammar, also of a JSON Schema. Raises UsageError for one that cannot be followed."""
    schema = options.get("json_schema")
    if schema is None:
        return options.get("grammar")
    from edgellm.runtimes.grammars.structure import grammar_of

    return grammar_of(schema if isinstance(schema, str) else json.dumps(schema))


def _check(prompt: Prompt, options: AnswerOptions) -> None:
    known = AnswerOptions.__annotations__
    for name in options:
        if name not in known:
            raise UsageError(f"no option {name!r} of an answer; known: {', '.join(known)}")
    shapes = [name for name in ("json_schema", "grammar", "tools") if options.get(name)]
    if len(shapes) > 1:
        raise UsageError(f"{' and '.join(shapes)} exclude each other; give one of them")
    if isinstance(prompt, str):
        for name in ("tools", "thinking"):
            if options.get(name) is not None:
                raise UsageError(f"{name} is for conversations; the prompt is plain text")
    if (logprobs := options.get("logprobs")) is not None and logprobs < 0:
        raise UsageError(f"logprobs is {logprobs}; expected at least 0")
