"""A second model that guesses: its answers, its vocabulary, its memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from edgellm.bundled import bundled_checkpoint
from edgellm.errors import InputError, UsageError
from edgellm.gguf_file import read_gguf
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.preconditions import choose_kv_formats, read_facts
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.speculation.draft_model import DraftModel
from edgellm.runtimes.llama_cpp.speculation.memory import draft_memory
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from tests.support.answers import answer, greedy
from tests.support.conversions import convert_folder
from tests.support.gguf import TinyLlama
from tests.support.speculation import guess_at_any_length

OPTIONS = LoadOptions(threads=1, context=512, ubatch=64)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "out"
    return convert_folder(bundled_checkpoint(), folder, "q8_0").gguf


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("draft") / "out"
    return convert_folder(bundled_checkpoint(), folder, "q3_K").gguf


@pytest.fixture(scope="module")
def models(large: Path, draft: Path) -> Iterator[tuple[LlamaCppModel, LlamaCppModel]]:
    runtime, guessing = LlamaCppRuntime(), replace(OPTIONS, speculate=str(draft))
    with runtime.load(large, OPTIONS) as alone, runtime.load(large, guessing) as helped:
        yield alone, guess_at_any_length(helped)


def test_a_draft_model_changes_no_token_of_several_turns(
    models: tuple[LlamaCppModel, LlamaCppModel],
) -> None:
    alone, helped = models
    seeded = SamplingOptions(temperature=0.6, seed=3, max_tokens=80)
    prompt = "The old house stood"
    for sampling in (greedy(120), seeded, greedy(60)):
        expected, found = (answer(model, prompt, sampling) for model in (alone, helped))
        assert found.text == expected.text
        assert 10 < found.usage.accepted_tokens < found.usage.drafted_tokens
        prompt += expected.text + " And then"


def test_guesses_are_what_the_draft_model_would_say_itself(large: Path, draft: Path) -> None:
    options = replace(OPTIONS, speculate=str(draft))
    with (
        LlamaCppRuntime().load(draft, OPTIONS) as alone,
        LlamaCppRuntime().load(large, options) as helped,
    ):
        assert helped._speculation is not None
        proposer = helped._speculation.proposer
        for prompt in ("The old house stood by the sea", "The old house was", "Once upon a time"):
            tokens = alone.tokenize(prompt)
            said = answer(alone, prompt, greedy(12))
            proposer.begin(tokens)
            with proposer.answering(CancelToken()):
                guesses = proposer.propose(tokens, 8)
            assert alone._sequences.current.tokens[len(tokens) :][:8] == guesses
            assert said.usage.generated_tokens == 12


def test_a_draft_model_of_another_vocabulary_is_refused_before_loading(
    large: Path, tiny_gguf: Path
) -> None:
    options = replace(OPTIONS, speculate=str(tiny_gguf))
    with pytest.raises(UsageError, match=r"draft for .*: 358 tokens, there it has 4096; use"):
        LlamaCppRuntime().load(large, options)


def test_the_first_token_that_differs_is_named(tmp_path: Path, tiny_gguf: Path) -> None:
    other = tmp_path / "other.gguf"
    raw = tiny_gguf.read_bytes()
    at = raw.index(gguf.Keys.Tokenizer.LIST.encode())
    place = raw.index(b"<|user|>", at)
    other.write_bytes(raw[:place] + b"<|uses|>" + raw[place + 8 :])
    with pytest.raises(UsageError, match=r"token 4 is '<\|uses\|>', there it is '<\|user\|>'"):
        LlamaCppRuntime().load(tiny_gguf, replace(OPTIONS, speculate=str(other)))


def test_a_draft_model_with_another_end_is_refused(tmp_path: Path, tiny_gguf: Path) -> None:
    path = TinyLlama(add_bos=True).write(tmp_path / "other.gguf")
    raw = path.read_bytes()
    key = gguf.Keys.Tokenizer.EOS_ID.encode()
    at = raw.index(key) + len(key) + 4
    path.write_bytes(raw[:at] + (6).to_bytes(4, "little") + raw[at + 4 :])
    with pytest.raises(UsageError, match="eos_token_id is 6, there it is 2"):
        LlamaCppRuntime().load(tiny_gguf, replace(OPTIONS, speculate=str(path)))


def test_a_draft_model_that_is_not_there_is_named(tiny_gguf: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.gguf: no such file"):
        LlamaCppRuntime().load(tiny_gguf, replace(OPTIONS, speculate="nowhere.gguf"))


def test_the_memory_of_both_models_is_reported_and_was_predicted(
    large: Path, draft: Path, models: tuple[LlamaCppModel, LlamaCppModel]
) -> None:
    alone, helped = (model.memory() for model in models)
    assert models[1]._speculation is not None
    assert isinstance(proposer := models[1]._speculation.proposer, DraftModel)
    assert helped.weights_bytes == alone.weights_bytes + proposer.buffers.weights_bytes
    assert helped.kv_cache_bytes == alone.kv_cache_bytes + proposer.buffers.kv_cache_bytes
    rows_bytes = 15 * 4 * 4096
    assert helped.compute_bytes >= alone.compute_bytes + proposer.buffers.compute_bytes + rows_bytes
    file = read_gguf(draft)
    formats = choose_kv_formats(None, None, read_facts(file), on_gpu=False)
    predicted = draft_memory(file, formats, 512, 64)
    assert proposer.buffers.weights_bytes <= predicted.weights_bytes
    assert proposer.buffers.kv_cache_bytes == pytest.approx(predicted.kv_cache_bytes, abs=6000)
    assert proposer.buffers.compute_bytes <= predicted.compute_bytes
    assert predicted.total_bytes < 1.5 * sum(
        (
            proposer.buffers.weights_bytes,
            proposer.buffers.kv_cache_bytes,
            proposer.buffers.compute_bytes,
        )
    )


def test_a_draft_model_with_a_short_context_stops_guessing_there(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    short = TinyLlama(context=64).write(tmp_path / "short.gguf")
    free = SamplingOptions(temperature=0.01, repeat_penalty=1, max_tokens=120)
    with LlamaCppRuntime().load(tiny_gguf, replace(OPTIONS, speculate=str(short))) as helped:
        done = answer(guess_at_any_length(helped), "a story", free)
    assert done.usage.generated_tokens == 120
    assert 0 < done.usage.accepted_tokens <= done.usage.drafted_tokens <= 64
