"""Saved conversations of a loaded model: what is kept, what goes on, and what is refused."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from edgellm.errors import IntegrityError, OutputError, UsageError
from edgellm.events import ContextTrimmed, Done
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.protocol import Request
from tests.support.answers import EXACT, STORY, ask, assert_as_fresh, greedy
from tests.support.gguf import TinyLlama
from tests.support.stateful_models import TinyGemma, TinyHybrid, TinyMamba

MORE = "<|end|><|user|>And then?<|end|><|assistant|>"
OTHER = "<|user|>Is there tea?<|end|><|assistant|>"


class Load(Protocol):
    def __call__(self, path: Path | None = None, **options: object) -> LlamaCppModel: ...


@pytest.fixture
def load(tiny_gguf: Path, tmp_path: Path) -> Iterator[Load]:
    """Loads with a cache folder that all loads share."""
    with ExitStack() as stack:

        def load(path: Path | None = None, **options: object) -> LlamaCppModel:
            asked = replace(EXACT, threads=1, context=400)
            asked = replace(asked, **options)  # type: ignore[arg-type]
            runtime = LlamaCppRuntime(tmp_path / "cache")
            return stack.enter_context(runtime.load(path or tiny_gguf, asked))

        yield load


@pytest.mark.parametrize("kind", [TinyLlama, TinyGemma, TinyHybrid, TinyMamba])
def test_a_restored_conversation_goes_on_as_the_saved_one(
    load: Load, tmp_path: Path, kind: type[TinyLlama]
) -> None:
    gguf = kind().write(tmp_path / "model.gguf")
    with load(gguf) as model:
        first = ask(model, STORY)
        prompt = STORY + first.text + MORE
        kept = model.save_state(prompt, tmp_path / "state")
        assert kept == first.usage.prompt_tokens + first.usage.generated_tokens - 1
        expected = ask(model, prompt)
    with load(gguf) as model:
        assert model.restore_state(tmp_path / "state") == kept
        found = ask(model, prompt)
    assert found.text == expected.text
    assert found.usage == expected.usage
    assert found.usage.cached_tokens == kept


def test_a_conversation_that_lost_its_oldest_turn_is_saved_without_it(
    load: Load, tmp_path: Path
) -> None:
    # With one layer, keys and values depend on their own token alone: moving them is exact.
    gguf = TinyLlama(layers=1).write(tmp_path / "model.gguf")
    turns = [f"<|user|>{letter * 90}<|end|><|assistant|>" for letter in "ab"]
    with load(gguf, context=256) as model:
        shorter = iter((turns[1], None)).__next__
        *events, done = model.generate(Request("".join(turns), greedy(90), shorter=shorter))
        assert any(isinstance(event, ContextTrimmed) for event in events)
        assert isinstance(done, Done)
        prompt = turns[1] + done.text + MORE
        kept = model.save_state(prompt, tmp_path / "state")
    with load(gguf) as model:
        assert model.restore_state(tmp_path / "state") == kept > 90 + 80
        found = ask(model, prompt)
        assert found.usage.cached_tokens == kept
        assert_as_fresh(model, found, gguf)


def test_saving_disturbs_no_cached_conversation(load: Load, tmp_path: Path) -> None:
    model = load()
    prompts = [prompt + ask(model, prompt).text + MORE for prompt in (STORY, OTHER)]
    kept = [model.save_state(prompt, tmp_path / "state") for prompt in prompts]
    assert [ask(model, prompt).usage.cached_tokens for prompt in prompts] == kept
    assert min(kept) > 19 + 15


def test_restoring_parks_the_conversation_that_was_there(load: Load, tmp_path: Path) -> None:
    with load() as model:
        story = STORY + ask(model, STORY).text + MORE
        kept = model.save_state(story, tmp_path / "state")
    model = load()
    other = OTHER + ask(model, OTHER).text + MORE
    assert model.restore_state(tmp_path / "state") == kept
    assert ask(model, other).usage.cached_tokens > 19 + 15
    assert ask(model, story).usage.cached_tokens == kept


def test_nothing_shared_is_nothing_written(load: Load, tmp_path: Path) -> None:
    model = load()
    assert model.save_state(STORY, tmp_path / "state") == 0
    assert not (tmp_path / "state").exists()


def test_another_model_s_conversation_is_refused(
    load: Load, tiny_gguf: Path, tmp_path: Path
) -> None:
    model = load()
    ask(model, STORY)
    model.save_state(STORY, tmp_path / "state")
    raw = bytearray(tiny_gguf.read_bytes())
    raw[-1] ^= 1  # in the last weight
    (tmp_path / "other.gguf").write_bytes(raw)
    with pytest.raises(IntegrityError, match="was saved with model"):
        load(tmp_path / "other.gguf").restore_state(tmp_path / "state")
    shutil.copyfile(tiny_gguf, tmp_path / "same.gguf")
    assert load(tmp_path / "same.gguf").restore_state(tmp_path / "state")


def test_other_cache_formats_and_small_contexts_are_refused(load: Load, tmp_path: Path) -> None:
    model = load()
    ask(model, STORY)
    model.save_state(STORY, tmp_path / "state")
    with pytest.raises(IntegrityError, match="was saved with K cache f32; here it is f16"):
        load(key_format="f16").restore_state(tmp_path / "state")
    with pytest.raises(IntegrityError, match=r"holds \d+ tokens, the context 32; load the model"):
        load(context=32).restore_state(tmp_path / "state")
    assert load(context=200).restore_state(tmp_path / "state")


def test_two_hundred_broken_files_are_refused_and_the_model_goes_on(
    load: Load, tmp_path: Path
) -> None:
    model, path = load(), tmp_path / "state"
    expected = ask(model, STORY)
    model.save_state(STORY, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for turn in range(200):
        at = int(rng.integers(len(whole)))
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed if turn % 2 else whole[:at])
        with pytest.raises(IntegrityError):
            model.restore_state(path)
    assert ask(model, STORY).text == expected.text
    path.write_bytes(whole)
    assert model.restore_state(path)
    assert ask(model, STORY).text == expected.text


def test_without_a_cache_folder_nothing_is_saved(tiny: LlamaCppModel, tmp_path: Path) -> None:
    ask(tiny, STORY)
    with pytest.raises(OutputError, match="no cache folder for the key"):
        tiny.save_state(STORY, tmp_path / "state")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_output_error(load: Load, tmp_path: Path) -> None:
    model = load()
    ask(model, STORY)
    with pytest.raises(OutputError, match="No such file or directory"):
        model.save_state(STORY, tmp_path / "absent" / "state")


def test_nothing_is_saved_while_an_answer_is_written(load: Load, tmp_path: Path) -> None:
    model = load()
    events = model.generate(Request(STORY, greedy(9)))
    next(events)
    with pytest.raises(UsageError, match="already answering"):
        model.save_state(STORY, tmp_path / "state")
    events.close()
