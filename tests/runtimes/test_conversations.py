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
from edgellm.events import Done
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request

GREEDY = SamplingOptions(temperature=0, repeat_penalty=1, max_tokens=12)
FIRST, SECOND = "Once upon a time there was a fox. " * 3, "It had a sister and no tail."


class Load(Protocol):
    def __call__(self, path: Path | None = None, **options: object) -> LlamaCppModel: ...


@pytest.fixture
def load(tiny_gguf: Path, tmp_path: Path) -> Iterator[Load]:
    """Loads with a cache folder that all loads share."""
    with ExitStack() as stack:

        def load(path: Path | None = None, **options: object) -> LlamaCppModel:
            exact = LoadOptions(key_format="f32", value_format="f32", threads=1, context=400)
            asked = replace(exact, **options)  # type: ignore[arg-type]
            runtime = LlamaCppRuntime(tmp_path / "cache")
            return stack.enter_context(runtime.load(path or tiny_gguf, asked))

        yield load


def answer(model: LlamaCppModel, prompt: str) -> Done:
    *_, done = model.generate(Request(prompt, GREEDY))
    assert isinstance(done, Done)
    return done


def test_a_restored_conversation_goes_on_as_the_saved_one(load: Load, tmp_path: Path) -> None:
    with load() as model:
        first = answer(model, FIRST)
        prompt = FIRST + first.text + SECOND
        kept = model.save_state(prompt, tmp_path / "state")
        assert kept == first.usage.prompt_tokens + first.usage.generated_tokens - 1
        expected = answer(model, prompt)
    with load() as model:
        assert model.restore_state(tmp_path / "state") == kept
        found = answer(model, prompt)
    assert found.text == expected.text
    assert found.usage == expected.usage
    assert found.usage.cached_tokens == kept


def test_saving_disturbs_no_cached_conversation(load: Load, tmp_path: Path) -> None:
    model = load()
    first = FIRST + answer(model, FIRST).text
    second = SECOND + answer(model, SECOND).text
    for prompt in (first, second):
        assert model.save_state(prompt, tmp_path / "state")
    for prompt in (first, second):
        assert answer(model, prompt + ".").usage.cached_tokens >= len(prompt) - 12


def test_restoring_parks_the_conversation_that_was_there(load: Load, tmp_path: Path) -> None:
    with load() as model:
        answer(model, FIRST)
        kept = model.save_state(FIRST, tmp_path / "state")
    model = load()
    answer(model, SECOND)
    assert model.restore_state(tmp_path / "state") == kept
    assert answer(model, SECOND + "!").usage.cached_tokens >= len(SECOND)
    assert answer(model, FIRST + "!").usage.cached_tokens >= len(FIRST)


def test_nothing_shared_is_nothing_written(load: Load, tmp_path: Path) -> None:
    model = load()
    assert model.save_state(FIRST, tmp_path / "state") == 0
    assert not (tmp_path / "state").exists()


def test_another_model_s_conversation_is_refused(
    load: Load, tiny_gguf: Path, tmp_path: Path
) -> None:
    model = load()
    answer(model, FIRST)
    model.save_state(FIRST, tmp_path / "state")
    raw = bytearray(tiny_gguf.read_bytes())
    raw[-1] ^= 1  # in the last weight
    (tmp_path / "other.gguf").write_bytes(raw)
    with pytest.raises(IntegrityError, match="was saved with model"):
        load(tmp_path / "other.gguf").restore_state(tmp_path / "state")
    shutil.copyfile(tiny_gguf, tmp_path / "same.gguf")
    assert load(tmp_path / "same.gguf").restore_state(tmp_path / "state")


def test_other_cache_formats_and_small_contexts_are_refused(load: Load, tmp_path: Path) -> None:
    model = load()
    answer(model, FIRST)
    model.save_state(FIRST, tmp_path / "state")
    with pytest.raises(IntegrityError, match="was saved with K cache f32; here it is f16"):
        load(key_format="f16").restore_state(tmp_path / "state")
    with pytest.raises(IntegrityError, match=r"holds \d+ tokens, the context 64; load the model"):
        load(context=64).restore_state(tmp_path / "state")
    assert load(context=200).restore_state(tmp_path / "state")


def test_two_hundred_broken_files_are_refused_and_the_model_goes_on(
    load: Load, tmp_path: Path
) -> None:
    model, path = load(), tmp_path / "state"
    expected = answer(model, FIRST)
    model.save_state(FIRST, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for turn in range(200):
        at = int(rng.integers(len(whole)))
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed if turn % 2 else whole[:at])
        with pytest.raises(IntegrityError):
            model.restore_state(path)
    assert answer(model, FIRST).text == expected.text
    path.write_bytes(whole)
    assert model.restore_state(path)
    assert answer(model, FIRST).text == expected.text


def test_without_a_cache_folder_nothing_is_saved(tiny: LlamaCppModel, tmp_path: Path) -> None:
    answer(tiny, FIRST)
    with pytest.raises(OutputError, match="no cache folder for the key"):
        tiny.save_state(FIRST, tmp_path / "state")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_output_error(load: Load, tmp_path: Path) -> None:
    model = load()
    answer(model, FIRST)
    with pytest.raises(OutputError, match="No such file or directory"):
        model.save_state(FIRST, tmp_path / "absent" / "state")


def test_nothing_is_saved_while_an_answer_is_written(load: Load, tmp_path: Path) -> None:
    model = load()
    events = model.generate(Request(FIRST, GREEDY))
    next(events)
    with pytest.raises(UsageError, match="already answering"):
        model.save_state(FIRST, tmp_path / "state")
    events.close()
