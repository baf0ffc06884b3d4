"""Pair merging in a few lines: what a tokenizer makes of a short string."""

from collections.abc import Callable, Mapping, Sequence

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


def spell(text: str, rank: PairRank, ids: Mapping[str, int]) -> tuple[int, ...]:
    """The ids of a short text; what `ids` lacks is spelled in its byte tokens."""
    spelled: list[int] = []
    for symbol in merge_pairs(text, rank):
        if symbol in ids:
            spelled.append(ids[symbol])
        else:
            spelled += [ids[f"<0x{byte:02X}>"] for byte in symbol.encode("utf-8")]
    return tuple(spelled)
