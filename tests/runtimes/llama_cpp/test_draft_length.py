"""How many tokens to guess, against the expected rate worked out outcome by outcome."""

import random
from itertools import accumulate
from operator import mul

import pytest

from edgellm.runtimes.llama_cpp.speculation.acceptance import Acceptance
from edgellm.runtimes.llama_cpp.speculation.batch_costs import BatchCosts
from edgellm.runtimes.llama_cpp.speculation.draft_length import best_draft_length
from edgellm.runtimes.llama_cpp.speculation.ngram import NgramProposer
from edgellm.runtimes.llama_cpp.speculation.speculation import Speculation
from edgellm.runtimes.llama_cpp.speculation.trial import BatchTrial

LINEAR = {size: float(size) for size in (1, 2, 3, 4, 5, 7, 8, 12, 16)}
FLAT = dict.fromkeys(LINEAR, 1.0)


def rate(chances: list[float], seconds: float, token_seconds: float, drafted: int) -> float:
    """Tokens a second: of each outcome its chance times the tokens that it gives."""
    reached = [1.0, *chances[:drafted], 0.0]
    tokens = sum(
        (reached[right] - reached[right + 1]) * (right + 1) for right in range(drafted)
    ) + reached[drafted] * (drafted + 1)
    return tokens / (seconds + drafted * token_seconds)


@pytest.mark.parametrize("seed", range(40))
def test_the_length_chosen_gives_the_highest_expected_rate(seed: int) -> None:
    draw = random.Random(seed)
    chances = list(accumulate((draw.uniform(0.3, 1) for _ in range(15)), mul))
    costs = accumulate(draw.uniform(0.02, 0.9) for _ in LINEAR)
    seconds = dict(zip(LINEAR, costs, strict=True))
    token_seconds, most = draw.choice([0.0, 0.03]), draw.randrange(16)
    rates = {
        size - 1: rate(chances, seconds[size], token_seconds, size - 1)
        for size in seconds
        if size <= most + 1
    }
    chosen = best_draft_length(chances, seconds, token_seconds, most)
    if max(rates.values()) < 1.02 * rates[0]:
        assert chosen == 0
    else:
        assert rates[chosen] == pytest.approx(max(rates.values()))


def test_drafting_is_off_where_a_batch_costs_as_much_as_its_tokens() -> None:
    assert best_draft_length([1.0] * 15, LINEAR, 0.0, 15) == 0


def test_where_batches_cost_nothing_more_the_longest_draft_is_best() -> None:
    assert best_draft_length([0.9**place for place in range(1, 16)], FLAT, 0.0, 15) == 15
    assert best_draft_length([0.9**place for place in range(1, 16)], FLAT, 0.0, 5) == 4


def test_chances_become_the_share_of_guesses_that_were_right() -> None:
    draw = random.Random(1)
    acceptance = Acceptance((0.5, 0.5), most=4)
    for _ in range(400):
        right = next((place for place in range(4) if draw.random() > 0.8), 4)
        acceptance.observe(1, 4, right)
    assert acceptance.chances(1) == pytest.approx([0.8**place for place in (1, 2, 3, 4)], abs=0.2)
    assert acceptance.chances(0)[0] == 0.5


def test_places_never_reached_are_taken_to_be_like_those_before() -> None:
    acceptance = Acceptance((0.5,), most=8)
    for _ in range(60):
        acceptance.observe(0, 2, 2)
    assert acceptance.chances(0)[7] > 0.85
    for _ in range(60):
        acceptance.observe(0, 2, 0)
    assert acceptance.chances(0)[0] < 0.1


def test_disturbed_samples_do_not_move_the_costs() -> None:
    costs = BatchCosts({1: 1.0, 2: 1.5})
    for step in range(64):
        costs.observe(1, 50.0 if step % 3 == 0 else 1.0)
    assert costs.seconds() == {1: 1.0, 2: 1.5}


def test_sizes_not_seen_follow_the_pace_of_those_that_are() -> None:
    costs = BatchCosts({1: 1.0, 2: 1.5, 8: 4.0})
    for _ in range(64):
        costs.observe(1, 3.0)
    assert costs.seconds() == {1: 3.0, 2: 4.5, 8: 12.0}


def test_one_sample_of_a_size_moves_its_cost_half_way() -> None:
    costs = BatchCosts({1: 1.0, 8: 40.0})
    costs.observe(8, 4.0)
    for _ in range(15):
        costs.observe(1, 1.0)
    assert costs.seconds() == {1: 1.0, 8: 22.0}


def test_costs_measured_in_a_bad_moment_are_found_out() -> None:
    trial = BatchTrial({1: 1.0, 3: 3.3}, frozenset({3}))
    speculation = Speculation(NgramProposer(), trial, n_vocab=10)
    for _ in range(40):
        speculation.checked(3, 15, 15)
    tokens = drafts = 0
    while tokens < 1000:
        drafted = speculation.draft_length(3, 15, exact=True)
        speculation.computed(drafted + 1, 2.0 if drafted else 1.0)
        tokens += drafted + 1
        drafts += drafted > 0
    assert drafts > 200


def test_what_does_not_pay_is_tried_rarely() -> None:
    trial = BatchTrial({1: 1.0, 3: 3.3}, frozenset({3}))
    speculation = Speculation(NgramProposer(), trial, n_vocab=10)
    for _ in range(40):
        speculation.checked(3, 15, 15)
    tokens = seconds = 0.0
    while tokens < 5000:
        drafted = speculation.draft_length(3, 15, exact=True)
        spent = 3.3 if drafted else 1.0
        speculation.computed(drafted + 1, spent)
        tokens += drafted + 1
        seconds += spent
    assert 1 < seconds / tokens < 1.01


def test_what_was_seen_long_ago_no_longer_counts() -> None:
    costs = BatchCosts({1: 1.0, 8: 4.0})
    for _ in range(16):
        costs.observe(8, 400.0)
    for _ in range(4096):
        costs.observe(1, 1.0)
    assert costs.seconds() == {1: 1.0, 8: 4.0}
