"""Pair merging in a few lines: the reference for what llama.cpp will do with short strings."""

from collections.abc import Callable, Sequence

# Lower is merged first; None when the two never merge.
PairRank = Callable[[str, str], float | None]


def merge_pairs(symbols: Sequence[str], rank: PairRank) -> list[str]:
    """Join neighbours until none merges: the lowest rank first, the leftmost of equals."""
    merged = list(symbols)
    while True:
        ranked = [
            (found, i)
            for i in range(len(merged) - 1)
            if (found := rank(merged[i], merged[i + 1])) is not None
        ]
        if not ranked:
            return merged
        _, i = min(ranked)
        merged[i : i + 2] = [merged[i] + merged[i + 1]]


def splits(text: str) -> list[tuple[str, str]]:
    """Every way to cut a string into two non-empty parts."""
    return [(text[:i], text[i:]) for i in range(1, len(text))]
