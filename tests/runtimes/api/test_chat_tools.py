"""Tools, thoughts and shapes: what reaches the template, and what comes back."""

import json
from collections.abc import Callable

import pytest

from edgellm.errors import UsageError
from edgellm.events import ReasoningDelta, ToolCall
from edgellm.runtimes.api.stream import Stream
from edgellm.runtimes.messages import Message, Tool
from tests.support.models import fake_model

TEMPLATE = (
    "{% if tools %}<tools>{{ tools | tojson }}{% endif %}"
    "{% if enable_thinking is defined %}<thinking {{ enable_thinking }}>{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls %}{{ c.function.name }} {{ c.function.arguments.city }}{% endfor %}"
    "{% if m.name %}from {{ m.name }}{% endif %}<end>{% endfor %}<assistant>"
    "{# <think></think> <tool_call></tool_call> #}"
)
WEATHER = Tool("weather", "Says how the weather is.", '{"type": "object"}')
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'


def answers(*texts: str) -> tuple[list[str], Callable[[str], str]]:
    """(the prompts seen, a script that says these in turn)."""
    prompts: list[str] = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return texts[len(prompts) - 1]

    return prompts, answer


def test_a_tool_is_called_answered_and_told_about() -> None:
    prompts, answer = answers(CALL, "It rains.")
    with fake_model(answer=answer, chat_template=TEMPLATE) as model:
        chat = model.chat()
        done = chat.send("Weather in Oslo?", tools=[WEATHER]).result()
        (call,) = done.tool_calls
        assert (done.stop_reason, done.text, call.name) == ("tool_call", "", "weather")
        assert json.loads(call.arguments) == {"city": "Oslo"}
        chat.answer_tool(call.id, "rain")
        assert chat.proceed().result().text == "It rains."
    assert '"name": "weather"' in prompts[0]
    assert prompts[1].endswith("<assistant>weather Oslo<end><tool>rainfrom weather<end><assistant>")
    assert "<tools>" in prompts[1]


def test_a_call_comes_as_an_event() -> None:
    with fake_model(answer=[CALL], chat_template=TEMPLATE) as model:
        events = list(model.chat().send("Weather?", tools=[WEATHER]))
    assert [event.name for event in events if isinstance(event, ToolCall)] == ["weather"]


def test_without_tools_a_call_is_text() -> None:
    with fake_model(answer=[CALL], chat_template=TEMPLATE) as model:
        assert model.chat().send("Weather?").result().text == CALL


def test_a_call_must_be_answered_before_the_talk_goes_on() -> None:
    with fake_model(answer=[CALL], chat_template=TEMPLATE) as model:
        chat = model.chat()
        (call,) = chat.send("Weather?", tools=[WEATHER]).result().tool_calls
        too_early: tuple[Callable[[], Stream], ...] = (lambda: chat.send("Well?"), chat.proceed)
        for early in too_early:
            with pytest.raises(UsageError, match="result"):
                early()
        with pytest.raises(UsageError, match=f"waiting: {call.id}"):
            chat.answer_tool("another", "rain")


def test_thoughts_come_apart_from_the_answer() -> None:
    with fake_model(answer=["<think>Hm.</think>Yes."], chat_template=TEMPLATE) as model:
        stream = model.chat().send("Sure?")
        thoughts = [event.text for event in stream if isinstance(event, ReasoningDelta)]
        done = stream.result()
    assert ("".join(thoughts), done.reasoning, done.text) == ("Hm.", "Hm.", "Yes.")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, None),
        ({"thinking": True}, "<thinking True>"),
        ({"thinking": False}, "<thinking False>"),
        ({"grammar": "root ::= [a-z]"}, "<thinking False>"),  # leaves no room for thoughts
    ],
)
def test_the_template_hears_whether_to_think(options: dict[str, object], shown: str | None) -> None:
    prompts, answer = answers("a")
    with fake_model(answer=answer, chat_template=TEMPLATE) as model:
        model.chat().send("Sure?", **options).result()  # type: ignore[arg-type]
    assert ("<thinking" in prompts[0]) == (shown is not None)
    assert shown is None or shown in prompts[0]


def test_a_thought_that_the_template_began_is_ended_where_a_grammar_governs() -> None:
    prompts, answer = answers("a", "a")
    with fake_model(answer=answer, chat_template=TEMPLATE + "<think>") as model:
        model.generate([Message("user", "Sure?")], grammar="root ::= [a-z]").result()
        model.generate([Message("user", "Sure?")]).result()
    assert prompts[0].endswith("<think>\n\n</think>\n\n")
    assert prompts[1].endswith("<think>")


def test_a_tool_whose_parameters_are_no_schema_is_refused() -> None:
    broken = Tool("weather", "", "{")
    with fake_model(chat_template=TEMPLATE) as model, pytest.raises(UsageError, match="weather"):
        model.chat().send("Weather?", tools=[broken]).result()
