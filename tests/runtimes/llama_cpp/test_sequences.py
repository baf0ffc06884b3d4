"""What a prompt reuses of earlier ones, and that answers stay those of a context of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgellm.errors import InputError
from edgellm.events import ContextFull, ContextTrimmed, Done, PrefillProgress
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.protocol import Request
from tests.runtimes.conftest import LoadTiny
from tests.support.answers import EXACT, STORY, ask, assert_as_fresh, greedy
from tests.support.greedy import greedy_by_full_logits


@pytest.fixture
def model(load_tiny: LoadTiny) -> LlamaCppModel:
    return load_tiny(EXACT)


def test_a_second_turn_computes_new_tokens_only(model: LlamaCppModel, tiny_gguf: Path) -> None:
    first = ask(model, STORY)
    more = "<|end|><|user|>And then?<|end|><|assistant|>"
    second = ask(model, STORY + first.text + more)
    computed_anyway = 1  # the last token of the first answer was not in the cache
    new = len(model._vocabulary.tokenize(more, parse_special=True))
    assert second.usage.prompt_tokens - second.usage.cached_tokens <= new + computed_anyway
    assert_as_fresh(model, second, tiny_gguf)


def test_generating_again_reads_one_token(model: LlamaCppModel, tiny_gguf: Path) -> None:
    texts = {ask(model, STORY).text}
    done = ask(model, STORY)
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    assert texts == {done.text}
    assert_as_fresh(model, done, tiny_gguf)


def test_an_edited_turn_reuses_what_stands_before_it(model: LlamaCppModel, tiny_gguf: Path) -> None:
    answer = ask(model, STORY).text
    before = STORY + answer + "<|end|>"
    ask(model, before + "<|user|>Why so?<|end|><|assistant|>")
    edited = ask(model, before + "<|user|>Who was it?<|end|><|assistant|>")
    assert edited.usage.cached_tokens > len(model.tokenize(STORY)) + 10
    assert_as_fresh(model, edited, tiny_gguf)


def test_both_branches_of_a_fork_stay(model: LlamaCppModel, tiny_gguf: Path) -> None:
    ends = [
        f"<|user|>{name}, what did the {name} say?<|end|><|assistant|>" for name in ("Ox", "Ass")
    ]
    answers = [ask(model, STORY + end).text for end in ends]
    for end, answer in zip(ends, answers, strict=True):
        again = ask(model, STORY + end + answer + "<|end|><|user|>More<|end|><|assistant|>")
        assert again.usage.prompt_tokens - again.usage.cached_tokens < 20
        assert_as_fresh(model, again, tiny_gguf)


def test_conversations_take_turns_until_the_cells_run_out(
    model: LlamaCppModel, tiny_gguf: Path
) -> None:
    prompts = [f"<|user|>{name * 60}<|end|><|assistant|>" for name in "ABC"]
    for prompt in prompts:
        ask(model, prompt)
    assert [ask(model, prompt).usage.cached_tokens > 50 for prompt in prompts] == [True] * 3
    long = ask(model, "<|user|>" + "D" * 400 + "<|end|><|assistant|>")
    assert long.usage.generated_tokens == 20
    assert_as_fresh(model, long, tiny_gguf)
    assert ask(model, prompts[0]).usage.cached_tokens < 10


def test_a_batch_stopped_inside_llama_cpp_is_not_taken_for_computed(
    model: LlamaCppModel, tiny_gguf: Path
) -> None:
    events = []
    for event in model.generate(Request("x" * 150, greedy(9))):
        events.append(event)
        if isinstance(event, PrefillProgress) and event.processed == 64:
            model._context._stop_flag[0] = b"x"
    assert isinstance(done := events[-1], Done)
    assert done.stop_reason == "cancelled"
    again = ask(model, "x" * 150, 9)
    assert again.usage.cached_tokens == 64
    assert_as_fresh(model, again, tiny_gguf)


def test_a_closed_answer_leaves_what_it_computed(model: LlamaCppModel, tiny_gguf: Path) -> None:
    events = model.generate(Request(STORY, greedy(50)))
    for _ in range(12):
        next(events)
    events.close()
    done = ask(model, STORY)
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    assert_as_fresh(model, done, tiny_gguf)


def keep_last(*prompts: str) -> Callable[[], str | None]:
    """A request's `shorter` that returns each of these once."""
    return iter((*prompts, None)).__next__


def conversation(turns: dict[str, str], *, without: int = 0) -> str:
    asked = "".join(
        f"<|user|>{question}<|end|><|assistant|>{answer}"
        for question, answer in list(turns.items())[without:]
    )
    return "<|system|>Be brief.<|end|>" + asked


def test_old_turns_leave_a_full_context_and_the_rest_is_as_if_read_anew(
    load_tiny: LoadTiny, tmp_path: Path
) -> None:
    # With one layer, keys and values depend on their own token alone: moving them is exact.
    model = load_tiny(EXACT, layers=1, context=256)
    turns = {"a" * 90: "First<|end|>", "b" * 60: ""}
    request = Request(
        conversation(turns),
        greedy(100),
        shorter=keep_last(conversation(turns, without=1)),
    )
    *events, done = model.generate(request)
    (trimmed,) = [event for event in events if isinstance(event, ContextTrimmed)]
    assert isinstance(done, Done)
    assert done.usage.generated_tokens == 100
    assert trimmed.dropped_tokens > 95
    assert trimmed.used < 256 == trimmed.limit
    assert sum(isinstance(event, PrefillProgress) for event in events) < 5
    tokens = model._sequences.current.tokens
    *before, a, b, c = tokens
    assert greedy_by_full_logits(tmp_path / "changed.gguf", before, 3) == [a, b, c]


def test_a_next_prompt_without_the_old_turns_moves_what_is_held(
    load_tiny: LoadTiny, tmp_path: Path
) -> None:
    model = load_tiny(EXACT, layers=1)
    turns = {"a" * 90: ""}
    turns = {"a" * 90: ask(model, conversation(turns)).text + "<|end|>", "b" * 60: ""}
    turns["b" * 60] = ask(model, conversation(turns)).text + "<|end|>"
    turns["c" * 10] = ""
    request = Request(conversation(turns, without=1), greedy(20), shorter=keep_last())
    *_, done = model.generate(request)
    assert isinstance(done, Done)
    assert done.usage.prompt_tokens - done.usage.cached_tokens < 20
    assert_as_fresh(model, done, tmp_path / "changed.gguf")


def test_turns_are_only_moved_where_they_may_be_lost(model: LlamaCppModel) -> None:
    turns = {"a" * 90: "First<|end|>", "b" * 60: ""}
    ask(model, conversation(turns))
    assert ask(model, conversation(turns, without=1)).usage.cached_tokens < 20


def test_a_prompt_beyond_the_context_loses_turns_where_it_may(model: LlamaCppModel) -> None:
    turns = {"a" * 400: "First<|end|>", "b" * 100: ""}
    short = conversation(turns, without=1)
    request = Request(conversation(turns), greedy(5), shorter=keep_last(short))
    trimmed, *_, done = model.generate(request)
    assert isinstance(trimmed, ContextTrimmed)
    assert isinstance(done, Done)
    assert trimmed.used == done.usage.prompt_tokens == len(model.tokenize(short))


def test_a_prompt_beyond_the_context_is_an_event_and_then_refused(model: LlamaCppModel) -> None:
    events = model.generate(Request("x" * 511, greedy(5)))
    assert next(events) == ContextFull(used=513, limit=512)
    with pytest.raises(InputError, match="513 tokens, the context holds 512; shorten it"):
        next(events)


@pytest.mark.parametrize(("key", "can_shift"), [("f16", True), ("q8_0", False)])
def test_keys_move_only_where_that_takes_no_more_memory(
    key: str, can_shift: bool, load_tiny: LoadTiny
) -> None:
    options = LoadOptions(context=8192, key_format=key, ubatch=32)
    model = load_tiny(options, hidden=128, heads=2, context=8192)
    assert model.info.can_shift == can_shift


def test_a_move_that_no_batch_followed_is_forgotten(model: LlamaCppModel, tiny_gguf: Path) -> None:
    turns = {"a" * 90: "First<|end|>", "b" * 60: ""}
    ask(model, conversation(turns))
    short = conversation(turns, without=1)
    events = model.generate(Request(short, greedy(20), shorter=keep_last()))
    next(events)
    assert model._sequences.current.moved
    events.close()
    assert_as_fresh(model, ask(model, short), tiny_gguf)


def test_a_prompt_that_is_not_kept_waits_for_its_continuation_only(model: LlamaCppModel) -> None:
    def asked(text: str) -> Done:
        *_, done = model.generate(Request(text, greedy(4), keep=False))
        assert isinstance(done, Done)
        return done

    first, other = "<|user|>" + "A" * 60, "<|user|>" + "B" * 60
    answer = asked(first).text
    assert asked(first + answer + " and").usage.cached_tokens > 50
    asked(other)
    assert model._context.span(1) == (-1, -1)
    assert asked(first).usage.cached_tokens < 10


def test_a_conversation_stays_beside_a_prompt_that_is_not_kept(model: LlamaCppModel) -> None:
    ask(model, STORY)
    for _ in model.generate(Request("B" * 60, greedy(4), keep=False)):
        pass
    assert ask(model, STORY).usage.cached_tokens > 10
