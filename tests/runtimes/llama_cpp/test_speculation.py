"""Answers with guesses against answers without: the same tokens, whatever else is asked for."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgellm.bundled import bundled_checkpoint
from edgellm.events import ContextTrimmed, Done, EngineFallback, Event, TextDelta
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.answers import greedy
from tests.support.conversions import convert_folder
from tests.support.gguf import TinyLlama
from tests.support.speculation import guess_at_any_length
from tests.support.stateful_models import TinyGemma, TinyHybrid

VERSE = "The rain fell on the roof, and the old man sat by the fire. "
PROMPT = VERSE * 3 + "The rain"
OPTIONS = LoadOptions(threads=1, context=512, ubatch=64)
GUESSING = replace(OPTIONS, speculate="ngram")
DRAWN = SamplingOptions(temperature=0.5, repeat_penalty=1, seed=11, max_tokens=300)

Pair = tuple[LlamaCppModel, LlamaCppModel]


def events_of(model: LlamaCppModel, request: Request) -> tuple[list[Event], Done]:
    *events, done = model.generate(request)
    assert isinstance(done, Done)
    return events, done


def same(pair: Pair, request: Request) -> Done:
    """The answer with guesses, which is that without them in everything but guesses."""
    plain, guessing = (events_of(model, request)[1] for model in pair)
    usage = replace(guessing.usage, drafted_tokens=0, accepted_tokens=0)
    assert (guessing.text, usage) == (plain.text, plain.usage)
    assert guessing.stop_reason == plain.stop_reason
    return guessing


@pytest.fixture(scope="module", params=["q8_0", "q4_K"])
def novelist(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "out"
    return convert_folder(bundled_checkpoint(), folder, request.param).gguf


@pytest.fixture(scope="module")
def pair(novelist: Path) -> Iterator[Pair]:
    runtime = LlamaCppRuntime()
    with runtime.load(novelist, OPTIONS) as plain, runtime.load(novelist, GUESSING) as guessing:
        yield plain, guess_at_any_length(guessing)


@pytest.mark.parametrize("sampling", [greedy(300), DRAWN], ids=["greedy", "seeded"])
def test_long_answers_are_token_for_token_those_without_guesses(
    pair: Pair, sampling: SamplingOptions
) -> None:
    done = same(pair, Request(PROMPT, sampling))
    assert done.usage.generated_tokens > 200
    assert 5 < done.usage.accepted_tokens < done.usage.drafted_tokens


def test_the_penalty_sees_the_same_tokens(pair: Pair) -> None:
    strict = SamplingOptions(temperature=0, repeat_penalty=1.3, repeat_last_n=40, max_tokens=200)
    assert same(pair, Request(PROMPT, strict)).usage.drafted_tokens


def test_an_answer_fills_the_context_to_the_last_token(pair: Pair) -> None:
    done = same(pair, Request(PROMPT, replace(greedy(1), max_tokens=None)))
    assert done.stop_reason == "context_full"
    assert done.usage.accepted_tokens


@pytest.mark.parametrize("tokens", [1, 2, 9, 30])
def test_no_more_tokens_are_given_than_were_asked_for(pair: Pair, tokens: int) -> None:
    assert same(pair, Request(PROMPT, greedy(tokens))).usage.generated_tokens == tokens


def test_a_stop_text_among_the_guesses_ends_the_answer(pair: Pair) -> None:
    stopping = replace(greedy(200), stop=("he wind was",))
    assert same(pair, Request(PROMPT, stopping)).stop_reason == "stop"


def test_the_next_turn_goes_on_from_what_was_kept(pair: Pair) -> None:
    first = same(pair, Request(PROMPT, greedy(60)))
    turn = f"{PROMPT}{first.text} {VERSE}The rain"
    assert same(pair, Request(turn, greedy(100))).usage.cached_tokens > 100


def test_a_grammar_is_followed_with_guesses_too(pair: Pair) -> None:
    grammar = 'root ::= ("the rain and " | "the roof and ")+ "the end"'
    done = same(pair, Request(PROMPT, greedy(120), grammar=grammar))
    assert done.usage.accepted_tokens
    assert set(done.text.split()) <= {"the", "rain", "roof", "and", "end"}


def test_likelihoods_are_those_without_guesses(pair: Pair) -> None:
    found = []
    for model in pair:
        events, _ = events_of(model, Request(PROMPT, greedy(60), logprobs=2))
        deltas = [event for event in events if isinstance(event, TextDelta)]
        found.append([likelihood for delta in deltas for likelihood in delta.likelihoods])
    assert found[0] == found[1]
    assert len(found[0]) == 60


def test_an_answer_without_a_seed_may_use_batches_of_every_size(pair: Pair) -> None:
    free = SamplingOptions(temperature=0.01, repeat_penalty=1, max_tokens=100)
    _, done = events_of(pair[1], Request(PROMPT, free))
    assert done.usage.generated_tokens == 100
    assert done.usage.accepted_tokens > 20


def test_a_cancelled_answer_leaves_the_next_one_whole(pair: Pair) -> None:
    cancel = CancelToken()
    heard = 0
    for event in pair[1].generate(Request(PROMPT, greedy(300)), cancel):
        heard += isinstance(event, TextDelta)
        if heard == 10:
            thread = threading.Thread(target=cancel.cancel)
            thread.start()
            thread.join()
    assert isinstance(event, Done)
    assert event.stop_reason == "cancelled"
    _, after = events_of(pair[1], Request(PROMPT, greedy(100)))
    assert after.text == events_of(pair[0], Request(PROMPT, greedy(100)))[1].text


def test_turns_leave_a_full_context_at_the_same_place(novelist: Path) -> None:
    long, short = (f"{VERSE * times}{PROMPT}" for times in (6, 1))
    # Keys move only in a cache of this format.
    options = replace(OPTIONS, context=256, key_format="f16", value_format="f16")

    def ask(model: LlamaCppModel) -> tuple[list[ContextTrimmed], str, int]:
        shorter: Callable[[], str | None] = iter((short, None)).__next__
        events, done = events_of(model, Request(long, greedy(150), shorter=shorter))
        trimmed = [event for event in events if isinstance(event, ContextTrimmed)]
        return trimmed, done.text, done.usage.accepted_tokens

    with LlamaCppRuntime().load(novelist, options) as plain:
        trimmed, text, _ = ask(plain)
    with LlamaCppRuntime().load(novelist, replace(options, speculate="ngram")) as guessing:
        found = ask(guess_at_any_length(guessing))
    assert trimmed
    assert found[:2] == (trimmed, text)
    assert found[2] > 10


@pytest.mark.parametrize("kind", [TinyHybrid, TinyGemma])
def test_a_model_that_cannot_go_back_answers_without_guesses_and_says_so(
    kind: type[TinyLlama], tmp_path: Path
) -> None:
    path = kind().write(tmp_path / "tiny.gguf")
    events: list[Event] = []
    with LlamaCppRuntime().load(path, GUESSING, events.append) as model:
        _, done = events_of(model, Request("a a a a a a", greedy(30)))
    assert done.usage.drafted_tokens == 0
    reasons = [event.reason for event in events if isinstance(event, EngineFallback)]
    assert any("cannot go back over a wrong guess" in reason for reason in reasons)


def test_where_no_batch_is_exact_seeded_answers_go_without_guesses(tiny_gguf: Path) -> None:
    # Two threads share out a single token's attention over an f16 cache, but not a batch's.
    options = replace(GUESSING, threads=2, key_format="f16", value_format="f16")
    events: list[Event] = []
    with LlamaCppRuntime().load(tiny_gguf, options, events.append) as model:
        assert model._speculation is not None
        assert not model._speculation.helps(exact=True)
        assert model._speculation.helps(exact=False)
        _, done = events_of(model, Request("a a a a a a", greedy(5)))
    assert done.usage.drafted_tokens == 0
    reasons = [event.reason for event in events if isinstance(event, EngineFallback)]
    assert any("waits for answers with a temperature and no seed" in text for text in reasons)


def test_guesses_are_off_where_a_batch_of_them_has_no_room(tiny_gguf: Path) -> None:
    events: list[Event] = []
    small = replace(GUESSING, ubatch=8)
    with LlamaCppRuntime().load(tiny_gguf, small, events.append) as model:
        assert model._speculation is None
    assert any(
        "ubatch of 16" in event.reason for event in events if isinstance(event, EngineFallback)
    )
