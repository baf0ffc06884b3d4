"""Guesses from the text itself, against looking through all of it each time."""

import random
import tracemalloc

import pytest

from edgellm.runtimes.llama_cpp.speculation.memory import NGRAM_TOKEN_BYTES
from edgellm.runtimes.llama_cpp.speculation.ngram import NgramProposer


def longest_repeat(tokens: list[int]) -> tuple[int, int]:
    """(place, length) of the latest place that agrees longest with the end, by brute force."""
    best = (0, 0)
    for place in range(1, len(tokens) - 1):
        length = 0
        while length <= place and tokens[place - length] == tokens[-1 - length]:
            length += 1
        if length >= max(best[1], 2):
            best = (place, length)
    return best


def proposed(
    tokens: list[int], count: int, proposer: NgramProposer | None = None
) -> list[int] | None:
    proposer = proposer or NgramProposer()
    proposer.begin(tokens)
    return None if proposer.evidence(tokens) is None else proposer.propose(tokens, count)


@pytest.mark.parametrize("seed", range(8))
def test_a_guess_is_what_followed_the_longest_repeat(seed: int) -> None:
    draw = random.Random(seed)
    passage = [draw.randrange(200) for _ in range(40)]
    tokens = [*passage, *(draw.randrange(200) for _ in range(60))]
    start = draw.randrange(25)
    tokens += passage[start : start + draw.randrange(3, 10)]
    place, length = longest_repeat(tokens)
    assert length >= 3
    assert proposed(tokens, 4) == tokens[place + 1 : place + 5]


def test_of_equal_repeats_the_latest_counts() -> None:
    assert proposed([1, 2, 7, 0, 1, 2, 8, 0, 5, 1, 2], 1) == [8]


def test_text_without_a_repeated_pair_gives_nothing() -> None:
    assert proposed([1, 2, 3, 1, 3, 2, 1], 4) is None


def test_a_text_that_goes_in_circles_is_guessed_round_and_round() -> None:
    assert proposed([9, 1, 2, 3, 1, 2, 3], 8) == [1, 2, 3, 1, 2, 3, 1, 2]


def test_longer_repeats_are_better_evidence() -> None:
    text = list(range(100, 120))
    classes = []
    for length in (2, 4, 8, 12):
        tokens = [*text, 0, *text[:length]]
        proposer = NgramProposer()
        proposer.begin(tokens)
        classes.append(proposer.evidence(tokens))
    assert classes == [0, 1, 2, 3]


@pytest.mark.parametrize("kept", [0, 1, 30, 59, 60])
def test_after_another_text_begins_guesses_are_those_of_that_text_alone(kept: int) -> None:
    draw = random.Random(kept)
    first = [draw.randrange(9) for _ in range(60)]
    second = [*first[:kept], *(draw.randrange(9) for _ in range(40)), 4, 4, 5, 4, 4]
    proposer = NgramProposer()
    assert proposed([*first, 4, 4, 6, 4, 4], 1, proposer) == [6]
    alone = proposed(second, 6)
    assert alone is not None
    assert alone[0] == 5
    assert proposed(second, 6, proposer) == alone


def test_growing_by_one_token_reads_one_token() -> None:
    class Counted(list[int]):
        reads = 0

        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            Counted.reads += 1
            return super().__getitem__(place)

    tokens = Counted(token % 50 for token in range(5000))
    proposer = NgramProposer()
    proposer.begin(tokens)
    Counted.reads = 0
    for token in range(100):
        tokens.append(token % 50)
        proposer.evidence(tokens)
    assert Counted.reads == 100


def test_the_index_takes_no_more_than_plans_count() -> None:
    draw = random.Random(0)
    tokens = [draw.randrange(1000, 150_000) for _ in range(12_000)]
    proposer, most = NgramProposer(), 0.0
    tracemalloc.start()
    try:
        for length in range(1024, len(tokens), 64):
            tracemalloc.reset_peak()
            proposer.begin(tokens[:length])
            held_bytes = 8 * length  # of the list that was passed
            most = max(most, (tracemalloc.get_traced_memory()[1] - held_bytes) / length)
    finally:
        tracemalloc.stop()
    assert 0.8 * NGRAM_TOKEN_BYTES < most <= NGRAM_TOKEN_BYTES
