"""Reasoning and tool calls, told from the text of an answer as it comes."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.events import Event, Likelihood, ReasoningDelta, TextDelta, TokenLikelihoods, ToolCall
from edgellm.runtimes.host.dialects import CALL_STYLES, REASONING, Dialect
from tests.support.chat_templates import TEMPLATES

THINK, BRACKETS = REASONING
HERMES, MISTRAL, LLAMA = CALL_STYLES
WEATHER = '{"name": "weather", "arguments": {"city": "Oslo </tool_call> \\"n\\"", "days": 2}}'
WEATHER_ARGUMENTS = '{"city": "Oslo </tool_call> \\"n\\"", "days": 2}'


def parse(
    dialect: Dialect, pieces: Sequence[str], *, tools: bool = True, opened: str = ""
) -> list[Event]:
    parser = dialect.parser(tools=tools, opened=opened)
    events = [event for piece in pieces for event in parser.feed(TextDelta(piece))]
    return events + parser.end()


def told(events: Sequence[Event]) -> tuple[str, str, list[tuple[str, str]]]:
    """(text, reasoning, calls)"""
    return (
        "".join(event.text for event in events if isinstance(event, TextDelta)),
        "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        [(event.name, event.arguments) for event in events if isinstance(event, ToolCall)],
    )


@pytest.mark.parametrize(
    ("template", "reasoning", "calls"),
    [
        ("llama3", None, None),
        ("chatml", None, None),
        ("gemma", None, None),
        ("mistral", None, None),
        ("qwen3", THINK, None),
        ("hermes", None, HERMES),
        ("deepseek-r1", THINK, None),
        ("llama3.1", None, LLAMA),
        ("mistral-tools", None, MISTRAL),
    ],
)
def test_a_template_tells_the_dialect(template: str, reasoning: object, calls: object) -> None:
    dialect = Dialect.of(TEMPLATES[template])
    assert (dialect.reasoning, dialect.calls) == (reasoning, calls)


def test_a_model_without_template_is_plain() -> None:
    assert Dialect.of(None) == Dialect()
    assert Dialect().shown == ()
    assert told(parse(Dialect(), ["<think>a</think>", "<tool_call>"])) == (
        "<think>a</think><tool_call>",
        "",
        [],
    )


def test_control_tokens_to_show_are_the_marks() -> None:
    assert Dialect(THINK, HERMES).shown == ("<think>", "</think>", "<tool_call>", "</tool_call>")
    assert Dialect(None, MISTRAL).shown == ("[TOOL_CALLS]", "[ARGS]")
    assert Dialect(None, LLAMA).shown == ("<|python_tag|>",)


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        (Dialect(THINK), "<think>\nhm\n</think>\n\nHi <think>", ("Hi <think>", "hm\n", [])),
        (Dialect(THINK), "no <think>x</think>", ("no <think>x</think>", "", [])),
        (Dialect(THINK), "<think>cut off </thi", ("", "cut off </thi", [])),
        (Dialect(BRACKETS), "[THINK]a[/THINK]b", ("b", "a", [])),
        (
            Dialect(None, HERMES),
            f"Wait.\n<tool_call>\n{WEATHER}\n</tool_call>\n<tool_call>{WEATHER}</tool_call>",
            ("Wait.\n", "", [("weather", WEATHER_ARGUMENTS)] * 2),
        ),
        (
            Dialect(THINK, HERMES),
            f"<think>a</think><tool_call>{WEATHER}",
            ("", "a", [("weather", WEATHER_ARGUMENTS)]),
        ),
        (
            Dialect(None, MISTRAL),
            f"[TOOL_CALLS] [{WEATHER}, {WEATHER}]",
            ("", "", [("weather", WEATHER_ARGUMENTS)] * 2),
        ),
        (
            Dialect(None, MISTRAL),
            '[TOOL_CALLS]add[ARGS]{"a": 1}[TOOL_CALLS]now[ARGS]{}',
            ("", "", [("add", '{"a": 1}'), ("now", "{}")]),
        ),
        (
            Dialect(None, LLAMA),
            ' {"name": "add", "parameters": {"a": 1}}; {"name": "now", "parameters": {}}',
            (" ", "", [("add", '{"a": 1}'), ("now", "{}")]),
        ),
        (Dialect(None, LLAMA), '<|python_tag|>{"name": "now"}', ("", "", [("now", "{}")])),
        (
            Dialect(None, HERMES),
            '<tool_call>{"name": "add", "arguments": "{\\"a\\": 1}"}</tool_call>',
            ("", "", [("add", '{"a": 1}')]),
        ),
    ],
)
def test_an_answer_is_told_apart(dialect: Dialect, text: str, expected: object) -> None:
    assert told(parse(dialect, [text])) == expected
    assert told(parse(dialect, list(text))) == expected


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (Dialect(None, HERMES), "<tool_call>{not json}</tool_call> then"),
        (Dialect(None, HERMES), '<tool_call>{"name": 3}</tool_call>'),
        (Dialect(None, HERMES), '<tool_call>{"name": "a", "arguments": [1]}</tool_call>'),
        (Dialect(None, HERMES), '<tool_call>{"name": "a'),
        (Dialect(None, MISTRAL), "[TOOL_CALLS] add(1, 2)"),
        (Dialect(None, LLAMA), "<|python_tag|>print(1)"),
        (Dialect(None, LLAMA), '{"answer": 42}'),
        (Dialect(None, LLAMA), "{" * 5000),
    ],
)
def test_a_call_that_cannot_be_read_stays_text(dialect: Dialect, text: str) -> None:
    assert told(parse(dialect, [text])) == (text, "", [])


def test_without_tools_a_call_is_text() -> None:
    text = f"<tool_call>{WEATHER}</tool_call>"
    assert told(parse(Dialect(None, HERMES), [text], tools=False)) == (text, "", [])


@pytest.mark.parametrize(
    ("opened", "expected"),
    [
        ("<|assistant|><think>\n", ("yes", "a", [])),
        ("<think>", ("yes", "a", [])),
        ("<think>\n\n</think>\n\n", ("a</think>\nyes", "", [])),
        ("", ("a</think>\nyes", "", [])),
    ],
)
def test_a_thought_may_have_begun_in_the_prompt(opened: str, expected: object) -> None:
    assert told(parse(Dialect(THINK), ["a</thi", "nk>\nyes"], opened=opened)) == expected


def test_a_thought_that_the_prompt_began_can_be_ended_there() -> None:
    prompt = Dialect(THINK).without_thought("<|user|>x<|assistant|><think>\n")
    assert prompt == "<|user|>x<|assistant|><think>\n\n</think>\n\n"
    assert Dialect(THINK).without_thought(prompt) == prompt
    assert Dialect().without_thought("<think>") == "<think>"
    asked = "<|user|>what is <think>?<|assistant|>"
    assert Dialect(THINK).without_thought(asked) == asked


def test_a_call_after_a_malformed_one_is_found() -> None:
    text = f"<tool_call>oops <tool_call>{WEATHER}</tool_call>"
    events = parse(Dialect(None, HERMES), list(text))
    assert told(events) == ("<tool_call>oops ", "", [("weather", WEATHER_ARGUMENTS)])


def test_each_call_has_an_id_of_its_own_that_templates_take() -> None:
    text = f"<tool_call>{WEATHER}</tool_call>" * 50
    ids = [e.id for e in parse(Dialect(None, HERMES), [text]) if isinstance(e, ToolCall)]
    assert len(set(ids)) == 50
    assert all(len(one) == 9 and one.isalnum() for one in ids)


PARTS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>"]
PARTS += [WEATHER, "{", "}", '"', "\n", " ", "a", "<", "</", "[TOOL", "</tool_", "\\", "[ARGS]"]


@given(
    st.sampled_from([Dialect(r, c) for r in (None, *REASONING) for c in (None, *CALL_STYLES)]),
    st.lists(st.sampled_from(PARTS), max_size=12),
    st.lists(st.integers(1, 7), min_size=1, max_size=20),
    st.booleans(),
)
def test_how_the_text_is_cut_changes_nothing(
    dialect: Dialect, parts: list[str], cuts: list[int], is_opened: bool
) -> None:
    text = "".join(parts)
    opened = "<think>\n" if is_opened else ""
    pieces: list[str] = []
    rest = text
    while rest:
        cut = cuts[len(pieces) % len(cuts)]
        pieces.append(rest[:cut])
        rest = rest[cut:]
    whole = told(parse(dialect, [text], opened=opened))
    assert told(parse(dialect, pieces, opened=opened)) == whole


@given(st.lists(st.sampled_from(PARTS), max_size=12))
def test_nothing_of_a_thought_is_lost_but_its_marks_and_newlines(parts: list[str]) -> None:
    text = "".join(parts)
    events = parse(Dialect(THINK), [text], tools=False)
    kept = "".join(e.text for e in events if isinstance(e, (TextDelta, ReasoningDelta)))
    begun = text.replace("<think>", "", 1)
    ended = text.replace("<think>", "", 1).replace("</think>", "", 1)
    assert kept.replace("\n", "") in [found.replace("\n", "") for found in (text, begun, ended)]


@given(st.lists(st.sampled_from([part for part in PARTS if part != WEATHER]), max_size=12))
def test_nothing_of_what_is_no_call_is_lost(parts: list[str]) -> None:
    for style in CALL_STYLES:
        assert told(parse(Dialect(None, style), parts)) == ("".join(parts), "", [])


def test_likelihoods_ride_with_the_text_of_their_tokens() -> None:
    def likely(token: int) -> TokenLikelihoods:
        return TokenLikelihoods(Likelihood(token, str(token), -1.0), ())

    parser = Dialect(THINK).parser(tools=False)
    events: list[Event] = []
    for token, text in enumerate(["<think>", "hm", "</think>", "\n\n", "Hi", " th", "ere"]):
        events += parser.feed(TextDelta(text, (likely(token),)))
    events += parser.end()
    carried = [
        (event.text, [one.taken.token for one in event.likelihoods])
        for event in events
        if isinstance(event, (TextDelta, ReasoningDelta))
    ]
    assert carried == [("hm", [0, 1]), ("Hi", [2, 3, 4]), (" th", [5]), ("ere", [6])]


def test_likelihoods_without_text_come_at_the_end() -> None:
    parser = Dialect(None, HERMES).parser(tools=True)
    one = TokenLikelihoods(Likelihood(1, "x", -1.0), ())
    (call,) = parser.feed(TextDelta(f"<tool_call>{WEATHER}</tool_call>", (one,)))
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments)["days"] == 2
    assert parser.end() == [TextDelta("", (one,))]
