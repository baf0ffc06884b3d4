"""What is kept of predictions, and what the rest being lumped costs."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax

from edgellm.evaluation import Comparison
from edgellm.likeliest import Likeliest, Softmax, divergence, keep_likeliest
from tests.support.quality import textbook_quality

POSITIONS, VOCABULARY = 40, 500


@pytest.fixture(scope="module")
def logits() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]:
    """Of a reference and of a model near it, and the tokens that follow."""
    rng = np.random.default_rng(0)
    reference = rng.normal(0, 3, (POSITIONS, VOCABULARY)).astype(np.float32)
    model = reference + rng.normal(0, 0.2, reference.shape).astype(np.float32)
    return reference, model, rng.integers(0, VOCABULARY, POSITIONS)


def kept(logits: NDArray[np.float32], following: NDArray[np.intp], tail: float) -> Likeliest:
    return keep_likeliest(Softmax(logits, "reference"), following, tail)


@pytest.mark.parametrize("tail", [0.3, 1e-2, 1e-4])
def test_as_few_tokens_as_leave_no_more_than_the_tail_are_kept(
    logits: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]], tail: float
) -> None:
    reference, _, following = logits
    found = kept(reference, following, tail)
    for row in range(POSITIONS):
        p = softmax(reference[row].astype(np.float64))
        entries = slice(found.starts[row], found.starts[row + 1])
        count = len(found.tokens[entries])
        assert found.tokens[entries].tolist() == np.argsort(-p)[:count].tolist()
        left = np.sort(p)[::-1][count - 1 :].sum()
        assert found.tails[row] == pytest.approx(left - p[found.tokens[entries][-1]], abs=1e-12)
        assert found.tails[row] <= tail < left


def test_the_tail_hides_at_most_its_share_of_the_divergence_inside_it(
    logits: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]],
) -> None:
    reference, model, following = logits
    found = divergence(kept(reference, following, 0.1), Softmax(model, "model"))
    p, q = softmax(reference.astype(np.float64), 1), softmax(model.astype(np.float64), 1)
    for row, tokens in enumerate(np.argsort(-p, axis=1)):
        count = int(np.searchsorted(np.cumsum(p[row, tokens]), 0.9)) + 1
        a, b = p[row, tokens[count:]], q[row, tokens[count:]]
        hidden = a.sum() * rel_entr(a / a.sum(), b / b.sum()).sum()
        whole = rel_entr(p[row], q[row]).sum()
        assert found[row] == pytest.approx(whole - hidden, rel=1e-9)


def test_keeping_every_token_loses_nothing(
    logits: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]],
) -> None:
    reference, model, following = logits
    comparison = Comparison()
    comparison.add(kept(reference, following, 1e-12), model, following.tolist())
    found = comparison.result().to_json()
    for name, figure in textbook_quality(reference, model, following.tolist()).items():
        assert found[name] == pytest.approx(figure, rel=1e-9), name


def test_a_part_of_the_positions_is_what_they_alone_would_be(
    logits: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]],
) -> None:
    reference, _, following = logits
    part, alone = (
        kept(reference, following, 1e-3)[7:19],
        kept(reference[7:19], following[7:19], 1e-3),
    )
    for name in ("starts", "tokens", "probabilities", "tails", "following"):
        np.testing.assert_array_equal(getattr(part, name), getattr(alone, name))


def test_the_following_token_keeps_its_exact_probability_in_the_tail_too() -> None:
    logits = np.zeros((2, 100), np.float32)
    logits[:, 0] = 30
    found = kept(logits, np.array([0, 99]), 1e-4)
    expected = log_softmax(logits.astype(np.float64), 1)
    assert found.starts.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.following, expected[[0, 1], [0, 99]], rtol=1e-12)
