"""`edgellm run` on the worker: shapes of answers and places of weights."""

import json
from pathlib import Path

import pytest

from edgellm.apps.cli.answer import report_json
from edgellm.events import Done, MemoryUse, Timings, ToolCall, Usage
from tests.apps.conftest import Cli
from tests.support.gguf import TinyLlama

SHORT = ("--threads", "1", "--max-tokens", "40", "--seed", "1")


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return TinyLlama().write(tmp_path / "tiny.gguf")


def test_the_answer_is_the_same_beside_us_and_apart(cli: Cli, gguf: Path) -> None:
    told = [
        cli("run", gguf, "Hello", *SHORT, "--json", "--isolation", isolation).json
        for isolation in ("process", "none")
    ]
    assert told[0]["text"] == told[1]["text"]
    assert told[0].keys() == told[1].keys()


def test_the_json_has_thoughts_tool_calls_and_guesses_where_there_are_any() -> None:
    call = ToolCall("call_0", "weather", '{"city": "Ulm"}')
    usage, timings = Usage(3, 5, drafted_tokens=4, accepted_tokens=2), Timings(1, 1, 1, 1)
    memory = MemoryUse(1, 2, 3, 4)
    full = report_json(Done(usage, timings, "tool_call", "", "Hm.", (call,)), memory, None)
    bare = report_json(Done(Usage(3, 5), timings, "end", "Hi."), memory, None)
    assert full["reasoning"] == "Hm."
    assert full["tool_calls"] == [
        {"id": "call_0", "name": "weather", "arguments": '{"city": "Ulm"}'}
    ]
    assert (full["drafted_tokens"], full["accepted_tokens"]) == (4, 2)
    assert full.keys() - bare.keys() == {
        "reasoning",
        "tool_calls",
        "drafted_tokens",
        "accepted_tokens",
    }


def test_a_gguf_file_by_another_name_runs_as_well(cli: Cli, gguf: Path) -> None:
    other = gguf.rename(gguf.with_name("model.bin"))
    assert cli("run", other, "Hello", *SHORT).code == 0


def test_the_memory_measured_is_the_worker_s(cli: Cli, gguf: Path) -> None:
    def resident(*options: str) -> int:
        ran = cli("run", gguf, "Hello", *SHORT, "--json", *options)
        return int(ran.json["memory"]["measured"]["resident_bytes"])

    assert resident() < resident("--isolation", "none")  # pytest and torch are in this process


SCHEMA = '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}'


@pytest.mark.parametrize("in_file", [True, False])
def test_a_json_schema_shapes_the_answer(
    cli: Cli, gguf: Path, tmp_path: Path, in_file: bool
) -> None:
    (tmp_path / "schema.json").write_text(SCHEMA)
    given = str(tmp_path / "schema.json") if in_file else SCHEMA
    ran = cli("run", gguf, "Hello", *SHORT, "--json-schema", given, "--json")
    assert json.loads(ran.json["text"])["n"] in (1, 2)
    assert ran.json["stop_reason"] == "end"


def test_a_grammar_shapes_the_answer(cli: Cli, gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "yes.gbnf").write_text('root ::= "yes" | "no"')
    ran = cli("run", gguf, "Well?", *SHORT, "--grammar", tmp_path / "yes.gbnf")
    assert ran.out.strip() in ("yes", "no")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--json-schema", '{"type": "nothing"}'), 2),
        (("--json-schema", "no-such-file"), 3),
        (("--grammar", "no-such-file"), 3),
        (("--json-schema", "{}", "--grammar", "GRAMMAR"), 2),
        (("--weights", "shared"), 2),
        (("--isolation", "thread"), 2),
    ],
)
def test_an_option_that_cannot_be_is_one_line(
    cli: Cli, gguf: Path, tmp_path: Path, options: tuple[str, ...], code: int
) -> None:
    (tmp_path / "grammar").write_text("root ::= [a]")
    words = [str(tmp_path / "grammar") if word == "GRAMMAR" else word for word in options]
    ran = cli("run", gguf, "Hello", *words)
    assert (ran.code, len(ran.err.splitlines())) == (code, 1), ran.err


@pytest.mark.parametrize("place", ["mapped", "locked"])
def test_weights_lie_where_asked(cli: Cli, gguf: Path, place: str) -> None:
    read, there = (
        cli("run", gguf, "Hello", *SHORT, "--weights", weights) for weights in ("read", place)
    )
    assert read.out == there.out
