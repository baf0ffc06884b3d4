"""Models whose memory cannot go back: they answer as if every prompt were read anew."""

from pathlib import Path

import pytest

from edgellm.events import ContextTrimmed, Done, EngineFallback
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.protocol import Request
from tests.runtimes.conftest import LoadTiny
from tests.support.answers import EXACT, STORY, ask, assert_as_fresh, greedy
from tests.support.gguf import TinyLlama
from tests.support.greedy import greedy_by_full_logits
from tests.support.stateful_models import TinyGemma, TinyHybrid, TinyMamba

STATES = (TinyHybrid, TinyMamba)


@pytest.fixture(params=(TinyGemma, *STATES))
def kind(request: pytest.FixtureRequest) -> type[TinyLlama]:
    found: type[TinyLlama] = request.param
    return found


@pytest.fixture
def model(load_tiny: LoadTiny, kind: type[TinyLlama]) -> LlamaCppModel:
    return load_tiny(EXACT, kind)


def written(tmp_path: Path) -> Path:
    return tmp_path / "changed.gguf"


def test_a_next_turn_goes_on_from_the_last(model: LlamaCppModel, tmp_path: Path) -> None:
    first = ask(model, STORY)
    more = "<|end|><|user|>And then?<|end|><|assistant|>"
    second = ask(model, STORY + first.text + more)
    assert second.usage.prompt_tokens - second.usage.cached_tokens < 20
    assert_as_fresh(model, second, written(tmp_path))


def test_an_edited_turn_is_answered_as_if_read_anew(model: LlamaCppModel, tmp_path: Path) -> None:
    before = STORY + ask(model, STORY).text + "<|end|>"
    ask(model, before + "<|user|>" + "Why? " * 40 + "<|end|><|assistant|>", 60)
    edited = ask(model, before + "<|user|>" + "Who? " * 40 + "<|end|><|assistant|>")
    assert_as_fresh(model, edited, written(tmp_path))


@pytest.mark.parametrize("kind", STATES)
def test_that_it_reads_again_is_said_once(model: LlamaCppModel) -> None:
    events = [event for _ in range(3) for event in model.generate(Request(STORY, greedy(5)))]
    (told,) = [event for event in events if isinstance(event, EngineFallback)]
    assert "reads any other prompt again" in told.reason


def test_turns_do_not_leave_the_middle_of_its_memory(model: LlamaCppModel) -> None:
    assert not model.info.can_shift


def test_a_full_context_goes_on_from_a_shorter_prompt_read_anew(
    load_tiny: LoadTiny, kind: type[TinyLlama], tmp_path: Path
) -> None:
    model = load_tiny(EXACT, kind, context=256)
    shorter = iter((STORY, None)).__next__
    request = Request("<|user|>" + "a" * 120 + "<|end|>" + STORY, greedy(80), shorter=shorter)
    *events, done = model.generate(request)
    assert isinstance(done, Done)
    assert done.usage.generated_tokens == 80
    assert any(isinstance(event, ContextTrimmed) for event in events)
    *before, a, b, c = model._sequences.current.tokens
    assert greedy_by_full_logits(written(tmp_path), before, 3) == [a, b, c]
