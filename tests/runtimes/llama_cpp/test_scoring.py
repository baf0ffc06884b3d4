"""A scorer's tokens are llama.cpp's own; its logits are those of one plain pass over the window."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.errors import Cancelled, UsageError
from edgellm.gguf_file import read_gguf
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.scoring import LlamaCppScorer, scoring_bytes
from edgellm.runtimes.options import LoadOptions, ScoringOptions
from edgellm.runtimes.protocol import Runtime, Scorer
from tests.support.gguf import TinyLlama
from tests.support.llama_cpp_reference import llama_cpp_logits, quiet_llama_cpp

WINDOW = 1100  # more than one piece, and not a whole number of them
OPTIONS = ScoringOptions(WINDOW, 600, threads=1)
TEXT = "It was <s> the best of times; \n\nит was the worst of times. "


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyLlama(context=2048).write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def scorer(model: Path) -> Iterator[LlamaCppScorer]:
    with LlamaCppRuntime().open_scorer(model, OPTIONS) as scorer:
        yield scorer


def rows(scorer: Scorer, window: list[int]) -> NDArray[np.float32]:
    return np.concatenate([piece.copy() for piece in scorer.logits(window)])


def random_window(scorer: Scorer, seed: int, length: int = WINDOW) -> list[int]:
    rng = np.random.default_rng(seed)
    tokens: list[int] = rng.integers(0, scorer.vocabulary_size, length).tolist()
    return tokens


def tokenized(gguf: Path, text: bytes) -> list[int]:
    """As llama-perplexity does: BOS where the vocabulary says so, special tokens as plain text."""
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    with quiet_llama_cpp():
        model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), params)
    ids = (ctypes.c_int32 * 4096)()
    vocab = llama_cpp.llama_model_get_vocab(model)
    count = llama_cpp.llama_tokenize(vocab, text, len(text), ids, len(ids), True, False)
    llama_cpp.llama_model_free(model)
    return list(ids[:count])


def test_the_engine_and_its_scorer_have_the_shape_of_the_protocol(scorer: LlamaCppScorer) -> None:
    runtime: Runtime = LlamaCppRuntime()
    found: Scorer = scorer
    assert (runtime.name, found.vocabulary_size > 256) == ("llama.cpp", True)


@pytest.mark.parametrize(
    ("length", "first"),
    [(2, 0), (90, 45), (512, 256), (513, 511), (WINDOW, 0), (WINDOW, 512), (WINDOW, WINDOW - 2)],
)
def test_logits_are_those_of_one_pass_from_first_to_the_last_but_one(
    model: Path, length: int, first: int
) -> None:
    with LlamaCppRuntime().open_scorer(model, ScoringOptions(length, first, threads=1)) as scorer:
        window = random_window(scorer, first, length)
        found = rows(scorer, window)
    expected = llama_cpp_logits(model, window, as_users_run_it=True)[first:-1]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_window_leaves_nothing_behind_for_the_next(scorer: LlamaCppScorer) -> None:
    window = random_window(scorer, 1)
    before = rows(scorer, window)
    rows(scorer, random_window(scorer, 2))
    assert np.array_equal(rows(scorer, window), before)


def test_text_is_tokenized_as_plain_text_after_a_bos(scorer: LlamaCppScorer, model: Path) -> None:
    assert scorer.bos == 1
    assert [scorer.bos, *scorer.tokens(TEXT)] == tokenized(model, TEXT.encode())


def test_a_vocabulary_that_wants_no_bos_has_none(tmp_path: Path) -> None:
    path = TinyLlama(context=2048, add_bos=False).write(tmp_path / "no-bos.gguf")
    with LlamaCppRuntime().open_scorer(path, OPTIONS) as scorer:
        assert scorer.bos is None
        assert scorer.tokens(TEXT) == tokenized(path, TEXT.encode())


def test_the_cache_formats_are_those_asked_for(model: Path, scorer: LlamaCppScorer) -> None:
    window = random_window(scorer, 3)
    coarse = ScoringOptions(WINDOW, 600, "q4_0", "q4_0", threads=1)
    with LlamaCppRuntime().open_scorer(model, coarse) as other:
        assert not np.allclose(rows(other, window), rows(scorer, window), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (ScoringOptions(2049, 1024), "2049 tokens is more than the 2048"),
        (ScoringOptions(64, 32, key_format="q9"), "K cache format 'q9'"),
        (ScoringOptions(64, 32, value_format="q9"), "V cache format 'q9'"),
    ],
)
def test_options_that_the_model_cannot_take_are_refused(
    model: Path, options: ScoringOptions, named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        LlamaCppRuntime().open_scorer(model, options)


@pytest.mark.parametrize(("window", "first"), [(1, 0), (8, 7), (8, -1)])
def test_a_window_with_nothing_to_predict_is_refused(window: int, first: int) -> None:
    with pytest.raises(UsageError, match="expected"):
        ScoringOptions(window, first)


@pytest.mark.parametrize(("key", "value"), [("f16", "f16"), ("q8_0", "q4_0")])
def test_the_cache_is_counted_as_llama_cpp_allocates_it(model: Path, key: str, value: str) -> None:
    file = read_gguf(model)
    # The same two predictions of windows of two lengths: only the cache differs.
    long, short = (
        scoring_bytes(file, ScoringOptions(window, window - 3, key, value))
        for window in (2048, 512)
    )
    load = LoadOptions(context=1536, key_format=key, value_format=value, threads=1)
    with LlamaCppRuntime().load(model, load) as loaded:
        # llama.cpp logs hundredths of a MiB.
        assert long - short == pytest.approx(loaded.memory().kv_cache_bytes, abs=0.006 * 2**20)


def test_logits_are_counted_for_the_positions_of_one_piece_at_most(model: Path) -> None:
    file = read_gguf(model)
    size = next(t.shape[0] for t in file.tensors if t.name == "token_embd.weight")
    every, half, one = (
        scoring_bytes(file, ScoringOptions(2048, first)) for first in (0, 2047 - 512, 2046)
    )
    assert every == half
    assert half - one == 2 * 4 * 511 * size


def test_a_cancel_ends_the_scoring(model: Path) -> None:
    cancel = CancelToken()
    with LlamaCppRuntime().open_scorer(model, OPTIONS, cancel=cancel) as scorer:
        pieces = scorer.logits(random_window(scorer, 4))
        next(pieces)
        cancel.cancel()
        with pytest.raises(Cancelled):
            next(pieces)
