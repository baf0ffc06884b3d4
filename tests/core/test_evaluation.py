"""The arithmetic of a comparison, beside the textbook's in float64."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.errors import InputError
from edgellm.evaluation import Comparison, F32Array, Quality, cut_windows, first_scored
from tests.support.quality import textbook_quality


def random_logits(positions: int, vocabulary: int, seed: int = 0) -> tuple[F32Array, F32Array]:
    """A reference and a model that is near it."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(0, 3, (positions, vocabulary)).astype(np.float32)
    return reference, reference + rng.normal(0, 0.2, reference.shape).astype(np.float32)


def following(positions: int, vocabulary: int) -> list[int]:
    tokens: list[int] = np.random.default_rng(1).integers(0, vocabulary, positions).tolist()
    return tokens


def compared(reference: F32Array, model: F32Array, tokens: list[int]) -> Quality:
    comparison = Comparison()
    comparison.add(reference, model, tokens)
    return comparison.result()


@pytest.mark.parametrize(("positions", "vocabulary"), [(2, 5), (400, 300), (5, 1 << 19)])
def test_every_figure_is_the_textbooks(positions: int, vocabulary: int) -> None:
    reference, model = random_logits(positions, vocabulary)
    tokens = following(positions, vocabulary)
    expected = textbook_quality(reference, model, tokens)
    found = compared(reference, model, tokens).to_json()
    assert found.keys() == expected.keys()
    for name, figure in expected.items():
        assert found[name] == pytest.approx(figure, rel=1e-9), name


def test_pieces_of_windows_add_up_to_the_whole() -> None:
    reference, model = random_logits(60, 50)
    tokens = following(60, 50)
    whole, comparison = compared(reference, model, tokens), Comparison()
    cuts = [slice(0, 7), slice(7, 40)]
    comparison.add_window((reference[c] for c in cuts), (model[c] for c in cuts), tokens[:40])
    comparison.add_window([reference[40:]], [model[40:]], tokens[40:])
    assert comparison.result() == whole


def test_a_model_beside_itself_has_no_divergence_at_all() -> None:
    logits, _ = random_logits(50, 1000)
    found = compared(logits, logits.copy(), following(50, 1000))
    assert found.kl_divergence.mean == found.kl_divergence.p99_9 == 0
    assert found.log_perplexity_ratio.mean == found.log_perplexity_ratio.standard_error == 0
    assert found.same_top_token == 1
    assert found.perplexity == found.reference_perplexity


def test_logits_that_are_all_raised_are_the_same_prediction() -> None:
    logits = np.round(random_logits(20, 100)[0])
    raised = logits + np.float32(1024)
    assert compared(logits, raised, following(20, 100)).kl_divergence.p99_9 == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("whose", ["reference", "model"])
def test_logits_that_are_not_finite_are_refused_and_say_whose(whose: str, bad: float) -> None:
    logits: dict[str, NDArray[np.float32]] = dict(
        zip(("reference", "model"), random_logits(3, 9), strict=True)
    )
    logits[whose][1, 4] = bad
    with pytest.raises(InputError, match=f"the {whose} gives logits that are not finite"):
        Comparison().add(logits["reference"], logits["model"], [0, 1, 2])


def test_a_hopeless_perplexity_is_still_a_number() -> None:
    logits = np.zeros((2, 4), np.float32)
    logits[:, 0] = 3000
    assert math.isfinite(compared(logits, logits, [1, 1]).perplexity)


def test_windows_follow_each_other_and_begin_with_bos_in_the_place_of_a_token() -> None:
    text = list(range(10, 22))
    assert cut_windows(text, 5, 1) == [[1, 10, 11, 12, 13], [1, 15, 16, 17, 18]]


def test_windows_of_a_model_without_bos_are_the_text() -> None:
    text = list(range(10, 22))
    assert cut_windows(text, 5, None) == [text[:5], text[5:10]]


def test_a_text_shorter_than_a_window_has_none() -> None:
    assert cut_windows([5, 6, 7], 5, 1) == []
    assert cut_windows([5, 6, 7, 8], 5, 1) == [[1, 5, 6, 7, 8]]


def test_the_second_half_of_a_window_is_scored() -> None:
    # llama-perplexity scores n_ctx - 1 - n_ctx / 2 predictions of each window.
    assert [window - 1 - first_scored(window) for window in (8, 9, 512)] == [3, 4, 255]
