"""System prompts, presets, sampling, JSON."""

import json
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from edgellm.runtimes.protocol import Request
from edgellm.testing import FakeModel, FakeRuntime
from tests.support.pilots import Driver, chatting, covers, run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the engine was asked for, in order."""
    requests: list[Request] = []
    generate = FakeModel.generate

    def heard(model: FakeModel, request: Request, *others: object) -> object:
        requests.append(request)
        return generate(model, request, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeModel, "generate", heard)
    return requests


@covers("system")
def test_a_system_prompt_is_written_kept_and_sent(tmp_path: Path, asked: list[Request]) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("/system")
            await chat.until(lambda: chat.dialog)
            await chat.press(*"Be kind.", "ctrl+s")
            await chat.settle()
            await chat.send("Hi")
            assert asked[-1].prompt.startswith("<system>Be kind.<end><user>Hi")
            await chat.send("/system Be short.")
            await chat.send("Hi")
            assert "Be short." in asked[-1].prompt
        async with chatting(tmp_path, resume=True) as chat:
            assert chat.chat.desk.conversation.system == "Be short."

    run(script())


@covers("system")
def test_esc_leaves_the_system_prompt_as_it_was(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path, system="Old.") as chat:
            await chat.send("/system")
            await chat.until(lambda: chat.dialog)
            assert chat.dialog is not None
            assert chat.dialog.query_one(TextArea).text == "Old."
            await chat.press(*"New", "escape")
            await chat.settle()
            assert chat.chat.desk.conversation.system == "Old."

    run(script())


@covers("preset")
def test_presets_are_chosen_kept_and_forgotten(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("/preset brief")
            assert "few words" in chat.chat.desk.conversation.system
            await chat.send("/system You are a pirate.")
            await choose(chat, "Keep the present")
            await chat.until(lambda: chat.dialog and chat.dialog.query(Input))
            await chat.press(*"pirate", "enter")
            await chat.settle()
            await chat.send("/preset plain")
            assert chat.chat.desk.conversation.system == ""
            await chat.send("/preset pirate")
            assert chat.chat.desk.conversation.system == "You are a pirate."
            await choose(chat, "Forget")
            await chat.settle()
            await chat.send("/preset pirate")
            assert "no preset 'pirate'" in chat.told

    run(script())


@covers("set")
def test_sampling_is_set_by_name_kept_and_asked_for(tmp_path: Path, asked: list[Request]) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.send("/set temperature 0.25")
            await chat.send("/set max_tokens=3")
            await chat.send("one two three four five")
            assert asked[-1].sampling.temperature == 0.25
            assert chat.said[-1] == "one two three"
            assert chat.last.ending.startswith("ended at the limit")
            await chat.send("/set temperature hot")
            assert "expected a number" in chat.told
            await chat.send("/set tmeperature 1")
            assert "known: temperature" in chat.told
        async with chatting(tmp_path, resume=True) as chat:
            assert chat.chat.desk.settings.max_tokens == 3

    run(script())


@covers("set")
def test_the_form_shows_the_model_s_own_choices_and_refuses_nonsense(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            await chat.press("f6")
            await chat.until(lambda: chat.dialog)
            assert chat.dialog is not None
            assert chat.dialog.query_one("#temperature", Input).placeholder == "0.7"
            await chat.press(*"warm", "enter")
            problem = chat.dialog.query_one(".problem")
            assert "expected a number" in str(problem.render())
            await chat.press("ctrl+u", *"0", "tab", *"5", "ctrl+s")
            await chat.settle()
            settings = chat.chat.desk.settings
            assert (settings.temperature, settings.top_k) == (0.0, 5)

    run(script())


@covers("json")
def test_json_is_asked_for_shown_and_ended(tmp_path: Path, asked: list[Request]) -> None:
    async def script() -> None:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        (tmp_path / "schema.json").write_text(json.dumps(schema))
        async with chatting(tmp_path / "chats") as chat:
            for command, has_grammar in (
                ("/json", True),
                ("/json", False),
                (f"/json {tmp_path / 'schema.json'}", True),
                ("/json off", False),
                (f"/json {json.dumps(schema)}", True),
            ):
                await chat.send(command)
                await chat.send("{}")
                assert (asked[-1].grammar is not None) == has_grammar
            assert "name" in str(asked[-1].grammar)
            assert "JSON" in chat.status
            await chat.send("/json {broken")
            assert "JSON" in chat.told
            await chat.send("/json nowhere.json")
            assert "nowhere.json" in chat.told

    run(script())


async def choose(chat: Driver, words: str) -> None:
    """Open the presets and take the row with these words."""
    await chat.send("/preset")
    await chat.until(lambda: chat.dialog)
    await chat.press(*words, "enter")
    await chat.pilot.pause()


def test_a_full_engine_gets_only_what_was_set(tmp_path: Path, asked: list[Request]) -> None:
    async def script() -> None:
        async with chatting(tmp_path, FakeRuntime()) as chat:
            await chat.send("Hi")
            assert asked[-1].sampling.temperature == 0.7
            assert asked[-1].grammar is None

    run(script())


@covers("set")
def test_a_setting_without_a_value_is_told_as_it_is(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            for command, said in (
                ("/set temperature", "temperature is the model's own choice"),
                ("/set temperature 0.25", "temperature 0.25"),
                ("/set Temperature", "temperature is 0.25; /set temperature auto"),
                ("/set when-full", "when_full is ask; it may be ask or trim"),
                ("/set warmth", "no setting 'warmth'; known: temperature, "),
            ):
                await chat.send(command)
                assert chat.told.startswith(said)
            assert chat.chat.desk.settings.to_json() == {"temperature": 0.25}

    run(script())
