"""How many tokens to guess: what gives the most tokens a second."""

from collections.abc import Mapping, Sequence

LEAST_GAIN = 1.02  # below, timings are too uncertain to tell it from a loss


def best_draft_length(
    chances: Sequence[float],
    seconds: Mapping[int, float],
    token_seconds: float,
    most: int,
    least_gain: float = LEAST_GAIN,
) -> int:
    """Tokens to draft so that expected tokens a second are highest; 0 when drafting does not pay.

    chances: by place, that the draft is right up to there (falling). seconds: of a batch, by the
    sizes that may be used, 1 among them; a draft of k tokens takes a batch of k + 1. token_seconds:
    of drafting one token. least_gain: over the rate of single tokens, to draft at all. A batch
    gives one token for sure: that after the last right guess.
    """
    best, best_rate, expected, counted = 0, least_gain / seconds[1], 1.0, 0
    for size in sorted(seconds):
        if not 1 < size <= min(most, len(chances)) + 1:
            continue
        expected += sum(chances[counted : size - 1])
        counted = size - 1
        rate = expected / (seconds[size] + counted * token_seconds)
        if rate > best_rate:
            best, best_rate = counted, rate
    return best
