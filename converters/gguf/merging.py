"""Pair merging in a few lines: what a tokenizer makes of a short string."""

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from edgellm.errors import UnsupportedError

MAX_SPELLINGS = 256

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


def may_form(text: str, tokens: Container[str]) -> bool:
    """Whether two neighbours, each a character or one of `tokens`, may join to this text."""
    return any(is_symbol(left, tokens) and is_symbol(right, tokens) for left, right in splits(text))


def is_symbol(text: str, tokens: Container[str]) -> bool:
    """Whether merging may leave this text as one symbol."""
    return len(text) == 1 or text in tokens


def splits(text: str) -> list[tuple[str, str]]:
    """Every way to cut a string into two non-empty parts."""
    return [(text[:i], text[i:]) for i in range(1, len(text))]


def check_spellings(path: Path, count: int) -> None:
    """Raises UnsupportedError for more spellings than any real vocabulary needs."""
    if count > MAX_SPELLINGS:
        raise UnsupportedError(
            f"{path}: {count} special tokens that merging may form from plain text",
            (f"at most {MAX_SPELLINGS}",),
        )


def spell(text: str, rank: PairRank, ids: Mapping[str, int]) -> tuple[int, ...]:
    """The ids of a short text; what `ids` lacks is spelled in its byte tokens."""
    spelled: list[int] = []
    for symbol in merge_pairs(text, rank):
        if symbol in ids:
            spelled.append(ids[symbol])
        else:
            spelled += [ids[f"<0x{byte:02X}>"] for byte in symbol.encode("utf-8")]
    return tuple(spelled)
