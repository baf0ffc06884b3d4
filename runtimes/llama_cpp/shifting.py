"""Finds what left a prompt, so that the rest moves up in the KV cache instead of being read again.

What stays keeps the state that it got with the turns that left in view: an approximation, which
callers choose by letting turns go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_LEAST_RUN = 8  # tokens that must go on alike before a stretch counts as what was left out


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of a sequence that a prompt leaves out."""

    start: int
    length: int
    held: int  # tokens of the prompt that the sequence holds without the stretch


def find_gap(held: Sequence[int], prompt: Sequence[int]) -> Gap | None:
    """The stretch whose leaving keeps most of what is held; None where it keeps nothing more."""
    start = shared(held, prompt)
    probe = prompt[start : start + _LEAST_RUN]
    best: Gap | None = None
    if len(probe) < _LEAST_RUN:
        return None
    for at in range(start + 1, len(held) - _LEAST_RUN + 1):
        if held[at] != probe[0] or held[at : at + _LEAST_RUN] != probe:
            continue
        run = shared(held[at:], prompt[start:])
        if best is None or start + run > best.held:
            best = Gap(start, at - start, start + run)
    return best


def shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common beginning; compares slices, which costs no Python for each token."""
    least, most = 0, min(len(first), len(second))
    while least < most:
        middle = (least + most + 1) // 2
        if first[least:middle] == second[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least
