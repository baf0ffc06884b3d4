"""What a prompt reuses of earlier ones, and that answers stay those of a context of its own."""

from pathlib import Path

import pytest

from edgellm.events import Done
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.transcript import all_tokens
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.runtimes.conftest import LoadTiny
from tests.support.greedy import greedy_by_full_logits

EXACT = LoadOptions(key_format="f32", value_format="f32", ubatch=64)
STORY = "<|user|>Tell me of the long way home, of rain and of an old lamp.<|end|><|assistant|>"


def greedy(tokens: int) -> SamplingOptions:
    return SamplingOptions(temperature=0, repeat_penalty=1, max_tokens=tokens)


def ask(model: LlamaCppModel, prompt: str, tokens: int = 20) -> Done:
    *_, done = model.generate(Request(prompt, greedy(tokens)))
    assert isinstance(done, Done)
    return done


def prompt_of(model: LlamaCppModel) -> list[int]:
    """The tokens that the last prompt was read as."""
    *prompt, answer = model._sequences.current.parts
    assert answer.ends
    return all_tokens(prompt)


def generated_by(model: LlamaCppModel) -> list[int]:
    """The tokens of the last answer but its last one, which was never computed."""
    return model._sequences.current.tokens[len(prompt_of(model)) :]


def assert_as_fresh(model: LlamaCppModel, path: Path) -> None:
    generated = generated_by(model)
    assert len(generated) > 3
    assert generated == greedy_by_full_logits(path, prompt_of(model), len(generated))


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
    assert_as_fresh(model, tiny_gguf)


def test_generating_again_reads_one_token(model: LlamaCppModel, tiny_gguf: Path) -> None:
    texts = {ask(model, STORY).text}
    done = ask(model, STORY)
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    assert texts == {done.text}
    assert_as_fresh(model, tiny_gguf)


def test_an_edited_turn_reuses_what_stands_before_it(model: LlamaCppModel, tiny_gguf: Path) -> None:
    answer = ask(model, STORY).text
    before = STORY + answer + "<|end|>"
    ask(model, before + "<|user|>Why so?<|end|><|assistant|>")
    edited = ask(model, before + "<|user|>Who was it?<|end|><|assistant|>")
    assert edited.usage.cached_tokens > len(model.tokenize(STORY)) + 10
    assert_as_fresh(model, tiny_gguf)


def test_both_branches_of_a_fork_stay(model: LlamaCppModel, tiny_gguf: Path) -> None:
    ends = [
        f"<|user|>{name}, what did the {name} say?<|end|><|assistant|>" for name in ("Ox", "Ass")
    ]
    answers = [ask(model, STORY + end).text for end in ends]
    for end, answer in zip(ends, answers, strict=True):
        again = ask(model, STORY + end + answer + "<|end|><|user|>More<|end|><|assistant|>")
        assert again.usage.prompt_tokens - again.usage.cached_tokens < 20
        assert_as_fresh(model, tiny_gguf)


def test_conversations_take_turns_until_the_cells_run_out(
    model: LlamaCppModel, tiny_gguf: Path
) -> None:
    prompts = [f"<|user|>{name * 60}<|end|><|assistant|>" for name in "ABC"]
    for prompt in prompts:
        ask(model, prompt)
    assert [ask(model, prompt).usage.cached_tokens > 50 for prompt in prompts] == [True] * 3
    long = ask(model, "<|user|>" + "D" * 400 + "<|end|><|assistant|>")
    assert long.usage.generated_tokens == 20
    assert_as_fresh(model, tiny_gguf)
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
    assert ask(model, "x" * 150, 9).usage.cached_tokens == 64
    assert_as_fresh(model, tiny_gguf)


def test_a_closed_answer_leaves_what_it_computed(model: LlamaCppModel, tiny_gguf: Path) -> None:
    events = model.generate(Request(STORY, greedy(50)))
    for _ in range(12):
        next(events)
    events.close()
    done = ask(model, STORY)
    assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    assert_as_fresh(model, tiny_gguf)


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
        shorter=iter([conversation(turns, without=1), None]).__next__,
    )
    *events, done = model.generate(request)
    (trimmed,) = [event for event in events if isinstance(event, ContextTrimmed)]
    assert isinstance(done, Done)
    assert done.usage.generated_tokens == 100
    assert trimmed.dropped_tokens > 95
    assert trimmed.used < 256 == trimmed.limit
    assert sum(isinstance(event, PrefillProgress) for event in events) < 5
    tokens = model._sequences.current.tokens
    last = greedy_by_full_logits(tmp_path / "changed.gguf", tokens[:-1], 1)
    assert tokens[-1:] == last
