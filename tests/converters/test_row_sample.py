"""Samples of rows against the figures of all rows."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.converters.rounding.sample import RowSample, sample_rows
from edgellm.errors import InputError
from edgellm.spec import DType, Role, TensorSpec

F64Array = NDArray[np.float64]

ROWS, SAMPLED = 32_000, 64
HEAD = TensorSpec("lm_head.weight", Role.OUTPUT, None, (ROWS, 4096), DType.F32)


def heavy_weights(seed: int = 0) -> F64Array:
    """1 on average; a few rows carry most, as rows of a head do."""
    weights: F64Array = np.random.default_rng(seed).lognormal(sigma=3, size=ROWS)
    weights /= weights.mean()
    return weights


def drawn(weights: F64Array | None, seed: int = 0) -> RowSample:
    """seed: changes the name, which seeds the draw."""
    outputs = {} if weights is None else {f"{seed}": weights.astype(np.float32)}
    calibration = Calibration(1, {}, {}, output_weights=outputs)
    return sample_rows(replace(HEAD, name=f"{seed}"), calibration)


def row_errors() -> F64Array:
    return np.random.default_rng(1).lognormal(sigma=0.3, size=ROWS)


def test_a_weighted_mean_is_close_where_few_rows_carry_most() -> None:
    weights, errors = heavy_weights(), row_errors()
    expected = (weights * errors).mean()
    counted = weights.astype(np.float32)
    found = [sample.mean(errors[sample.at], counted) for sample in samples(weights, 100)]
    assert np.mean(found) == pytest.approx(expected, rel=0.02)
    assert np.std(found) < 0.08 * expected


def test_the_plain_mean_of_a_weighted_sample_is_that_of_all_rows() -> None:
    errors = row_errors()
    found = [sample.mean(errors[sample.at]) for sample in samples(heavy_weights(), 100)]
    assert np.mean(found) == pytest.approx(errors.mean(), rel=0.02)
    assert np.std(found) < 0.08 * errors.mean()


def samples(weights: F64Array | None, count: int) -> list[RowSample]:
    return [drawn(weights, seed) for seed in range(count)]


def test_sums_over_a_sample_are_unbiased() -> None:
    gradients = np.random.default_rng(2).normal(1, 1, ROWS)
    found = [gradients[s.at] @ s.stands_for for s in samples(heavy_weights(), 400)]
    error = np.std(found) / 20
    assert abs(np.mean(found) - gradients.sum()) < 4 * error < 0.05 * gradients.sum()


def test_each_row_is_drawn_as_often_as_it_says() -> None:
    weights = heavy_weights()
    heaviest = np.argsort(weights)[-200:]
    times, expected = np.zeros(ROWS), np.zeros(ROWS)
    for sample in samples(weights, 400):
        times[sample.at] += 1
        expected[sample.at] = 400 / sample.stands_for
    assert times[heaviest].sum() == pytest.approx(expected[heaviest].sum(), rel=0.03)
    assert expected[weights.argmax()] == times[weights.argmax()] == 400


def test_without_weights_every_row_stands_for_as_many() -> None:
    sample = drawn(None)
    assert len(np.unique(sample.at)) == SAMPLED
    assert set(sample.stands_for) == {ROWS / SAMPLED}


@pytest.mark.parametrize("weights", [None, heavy_weights()], ids=["alike", "unlike"])
def test_a_sample_is_the_same_every_time(weights: F64Array | None) -> None:
    one, other = drawn(weights), drawn(weights)
    assert np.array_equal(one.at, other.at)
    assert np.array_equal(one.stands_for, other.stands_for)
    assert np.array_equal(one.at, np.unique(one.at))


def test_small_matrices_are_whole_whatever_the_weights() -> None:
    weights = heavy_weights()[:256].astype(np.float32)
    small = replace(HEAD, shape=(256, 1024))
    sample = sample_rows(small, Calibration(1, {}, {}, output_weights={small.name: weights}))
    assert np.array_equal(sample.at, np.arange(256))
    assert np.array_equal(sample.stands_for, np.ones(256))


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(InputError, match=r"output weights of 0: 3 rows; expected 32000"):
        drawn(np.ones(3))
