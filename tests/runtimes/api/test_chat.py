"""Conversations: what they remember, how they change, what an answer leaves behind."""

from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import InputError, RuntimeFailure, UsageError
from edgellm.events import ContextTrimmed, EngineFallback, PrefillProgress, TextDelta
from edgellm.runtimes.api.stream import Stream
from edgellm.runtimes.messages import Message
from tests.support.models import fake_model


def said(stream: Stream) -> str:
    return stream.result().text


def cached(stream: Stream) -> int:
    return next(event.cached for event in stream if isinstance(event, PrefillProgress))


def test_a_conversation_remembers_both_sides() -> None:
    with fake_model(answer=["Hello.", "Goodbye."]) as model:
        chat = model.chat("Be brief.")
        assert [said(chat.send("Hi")), said(chat.send("Bye"))] == ["Hello.", "Goodbye."]
        assert chat.messages == (
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", "Hello."),
            Message("user", "Bye"),
            Message("assistant", "Goodbye."),
        )


def test_a_stream_that_was_left_is_no_hindrance_to_the_next_turn() -> None:
    with fake_model(answer=["one two three", "four"], decode_s=0.05) as model:
        chat = model.chat()
        for event in chat.send("Count", max_tokens=100):
            if isinstance(event, TextDelta):
                break
        assert said(chat.send("Go on")) == "four"
        assert [message.partial for message in chat.messages] == [False, True, False, False]


def test_a_conversation_of_something_else_is_refused() -> None:
    with fake_model() as model:
        messages: Any = [{"role": "user", "content": "Hi"}]
        with pytest.raises(UsageError, match=r"a message is \{'role': 'user'.*expected a Message"):
            model.chat(messages=messages)
        tools: Any = [{"name": "weather"}]
        with pytest.raises(UsageError, match="expected a Tool"):
            model.chat().send("Hi", tools=tools)


def test_a_bare_text_to_embed_is_refused() -> None:
    with fake_model() as model, pytest.raises(UsageError, match="give \\[text\\]"):
        model.embed("a heron")


def test_the_next_turn_reads_only_what_is_new() -> None:
    with fake_model() as model:
        chat = model.chat()
        before = chat.send("one two three").result().usage
        read = before.prompt_tokens + before.generated_tokens
        turn = chat.send("four")
        assert cached(turn) == read
        assert turn.result().usage.prompt_tokens == read + len(
            ["<end>", "<user>", "four", "<end>", "<assistant>"]
        )


def test_a_fork_goes_its_own_way_and_shares_what_was_read() -> None:
    with fake_model() as model:
        chat = model.chat()
        past = chat.send("one two").result().usage
        fork = chat.fork()
        assert cached(fork.send("left")) == past.prompt_tokens + past.generated_tokens
        assert cached(chat.send("right")) >= past.prompt_tokens + past.generated_tokens
        assert chat.messages[:2] == fork.messages[:2]
        assert chat.messages[2:] != fork.messages[2:]


def test_regenerating_replaces_the_answer_and_reads_no_prompt_again() -> None:
    with fake_model(answer=["first", "second"]) as model:
        chat = model.chat()
        prompt = chat.send("Say something").result().usage.prompt_tokens
        again = chat.regenerate()
        assert cached(again) == prompt - 1  # one token is decoded for what follows it
        assert [message.content for message in chat.messages] == ["Say something", "second"]


def test_editing_a_message_forgets_what_followed() -> None:
    with fake_model() as model:
        chat = model.chat("System")
        said(chat.send("one"))
        said(chat.send("two"))
        assert said(chat.edit(3, "three")) == "three"
        assert [message.content for message in chat.messages] == [
            *("System", "one", "one"),
            *("three", "three"),
        ]
        with pytest.raises(UsageError, match="message 0 is no user message"):
            chat.edit(0, "four")


def test_undoing_takes_back_a_question_with_its_answer() -> None:
    with fake_model() as model:
        chat = model.chat()
        said(chat.send("one"))
        said(chat.send("two"))
        assert [message.content for message in chat.undo()] == ["two", "two"]
        assert [message.content for message in chat.messages] == ["one", "one"]


def test_an_answer_that_was_stopped_stays_and_is_marked() -> None:
    with fake_model(answer=["word " * 10_000], decode_s=0.01, context=20_000) as model:
        chat = model.chat()
        with chat.send("Talk") as stream:
            next(event for event in stream if isinstance(event, TextDelta))
        answer = chat.messages[-1]
        assert answer.partial
        assert answer.content == stream.text


def test_an_answer_that_failed_at_once_takes_its_question_along() -> None:
    with fake_model(context=8) as model:
        chat = model.chat()
        with pytest.raises(InputError, match="the context holds 8"):
            said(chat.send("far too many words for so small a context"))
        assert chat.messages == ()
        assert said(chat.send("hi")) == "hi"


def test_an_answer_that_failed_after_its_first_words_stays_and_is_marked() -> None:
    with fake_model(answer_error=RuntimeFailure("fake", "no more")) as model:
        chat = model.chat()
        with pytest.raises(RuntimeFailure):
            said(chat.send("one two"))
        assert chat.messages[-1] == Message("assistant", "one", partial=True)


def test_a_chat_says_one_thing_at_a_time() -> None:
    with fake_model(answer=["word " * 1000], decode_s=0.01) as model:
        chat = model.chat()
        with chat.send("Talk"):
            for busy in (lambda: chat.send("More"), chat.fork, chat.undo, chat.regenerate):
                with pytest.raises(UsageError, match="still answering"):
                    busy()
        assert len(chat.messages) == 2


def test_a_full_context_drops_the_oldest_turns_and_says_so() -> None:
    with fake_model(context=40) as model:
        chat = model.chat("Stay", when_full="shift")
        trimmed: list[ContextTrimmed] = []
        for turn in range(8):
            stream = chat.send(f"{turn} b c")
            trimmed += [event for event in stream if isinstance(event, ContextTrimmed)]
            assert stream.result().text == f"{turn} b c"
        assert trimmed
        assert len(chat.messages) == 17
        assert sum(event.dropped_messages for event in trimmed) == chat._dropped
        assert all(event.used <= 40 for event in trimmed)


def test_a_full_context_is_an_error_unless_asked_otherwise() -> None:
    with fake_model(context=40) as model:
        chat = model.chat("Stay")
        said(chat.send("a b c"))
        before = chat.messages
        with pytest.raises(InputError, match=r"tokens, the context holds 40"):
            said(chat.send("word " * 30))
        assert chat.messages == before


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    with fake_model() as model, pytest.raises(UsageError, match="expected error or shift"):
        model.chat(when_full="drop")


def test_a_restored_conversation_is_not_read_again(tmp_path: Path) -> None:
    with fake_model() as model:
        chat = model.chat()
        said(chat.send("one two three"))
        saved = chat.save_state(tmp_path / "state")
    with fake_model() as other:
        again = other.chat(messages=chat.messages)
        assert again.restore_state(tmp_path / "state") == saved > 0
        assert cached(again.send("four")) == saved


def test_a_state_that_is_refused_is_told_of_and_read_anew(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("another model's")
    with fake_model() as model:
        chat = model.chat()
        assert chat.restore_state(tmp_path / "state") == 0
        first, *rest = chat.send("one")
        assert isinstance(first, EngineFallback)
        assert "read again" in first.reason
        assert not any(isinstance(event, EngineFallback) for event in rest)
        assert not any(isinstance(event, EngineFallback) for event in chat.send("two"))
