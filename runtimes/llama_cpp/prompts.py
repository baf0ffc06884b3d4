"""Reads a prompt into tokens, with those that were generated where it repeats an answer."""

from collections.abc import Iterable

from edgellm.runtimes.llama_cpp.transcript import Part, after_a_gap, all_bytes, beginning
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary, encoded


def read_prompt(
    text: str,
    vocabulary: Vocabulary,
    known: Iterable[tuple[Part, ...]],
    *,
    turns_missing: bool = False,
) -> tuple[Part, ...]:
    """The prompt in parts, of which some were generated before.

    known: the parts of each sequence that is held. turns_missing: whether the oldest turns of one
    may have been left out of the prompt. Raises InputError.
    """

    def tokens_of(part: bytes) -> tuple[int, ...]:
        return tuple(vocabulary.prompt_tokens(part.decode()))

    raw, held = encoded(text), tuple(known)
    repeated = max((beginning(parts, raw) for parts in held), key=all_bytes, default=())
    if not repeated and turns_missing:
        gaps = (after_a_gap(parts, raw, tokens_of) for parts in held)
        repeated = max(gaps, key=all_bytes, default=())
    if repeated:
        rest = raw[all_bytes(repeated) :]
        tokens = vocabulary.continuation(rest.decode())
        if tokens is not None:
            return (*repeated, Part(rest, tuple(tokens)))
    return (Part(raw, tokens_of(raw)),)
