"""A byte-level BPE `tokenizer.json` as a GGUF token table.

llama.cpp's "gpt2" tokenizer merges as the tokenizers library does. What it lacks is left to
TextRules: Unicode normalization, a leading space, added tokens that strip spaces or must be whole
words, or that may overlap (it looks for the longest token first, not for the leftmost), and added
tokens whose names it takes for a sign that they are special.
"""

import re
from collections.abc import Mapping

from edgellm.converters.gguf.template import added_ends
from edgellm.converters.gguf.token_table import TokenTable
from edgellm.errors import UnsupportedError
from edgellm.json_file import show
from edgellm.tokenizer.added_tokens import AddedToken, overlapping
from edgellm.tokenizer.pretokenizers import adds_prefix_space, find_pre_tokenizer
from edgellm.tokenizer.sentencepiece_model import PieceType
from edgellm.tokenizer.text_rules import FORMS, SpacePrefix, TextRules
from edgellm.tokenizer.tokenizer_json import TokenizerJson

# llama.cpp takes some fifty names, such as "<|im_end|>" and "<fim_prefix>", for a sign that a token
# is special, and a few, such as "<|start|>", for a sign that it is not.
_LOOKS_SPECIAL = re.compile("[_\u2581]?[<\\[]")
_LOOKS_PLAIN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


def byte_level_table(tokenizer: TokenizerJson) -> TokenTable:
    """The tokens of a byte-level BPE `tokenizer.json`.

    Raises FormatError for a broken file, UnsupportedError for one that llama.cpp cannot follow.
    """
    pre = find_pre_tokenizer(tokenizer)
    _check_alphabet(tokenizer)
    tokens = tokenizer.tokens()
    ends = added_ends(tokenizer)
    return TokenTable(
        model="gpt2",
        pre=pre.name,
        tokens=tuple(tokens.get(i, f"[PAD{i}]") for i in range(max(tokens) + 1)),
        types=token_types(tokens, tokenizer.added),
        merges=tuple(_merge(tokenizer, *pair) for pair in tokenizer.merges),
        rules=_rules(tokenizer),
        bos_id=ends[0] if ends else None,
        eos_id=ends[1] if ends else None,
        add_bos=ends[0] is not None if ends else None,
        add_eos=ends[1] is not None if ends else None,
    )


def token_types(tokens: Mapping[int, str], added: tuple[AddedToken, ...]) -> tuple[PieceType, ...]:
    """What each token is, by id; ids without a token are unused."""
    kinds = dict.fromkeys(tokens, PieceType.NORMAL)
    for token in added:
        kinds[token.id] = PieceType.CONTROL if token.special else _found_always(token)
    return tuple(kinds.get(i, PieceType.UNUSED) for i in range(max(tokens) + 1))


def _found_always(token: AddedToken) -> PieceType:
    """llama.cpp finds a user-defined token inside words too, but leaves a normal one to rules."""
    return PieceType.NORMAL if token.whole_word else PieceType.USER_DEFINED


def _merge(tokenizer: TokenizerJson, left: str, right: str) -> str:
    if " " in left + right:
        raise UnsupportedError(
            f"{tokenizer.path}: merge {show([left, right])} has a space in it, which GGUF cannot "
            "hold",
            ("byte-level merges",),
        )
    return f"{left} {right}"


def byte_alphabet() -> frozenset[str]:
    """The 256 characters that byte-level BPE writes bytes as: printable Latin-1, the rest moved."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = range(0x100, 0x100 + 256 - len(printable))
    return frozenset(map(chr, [*printable, *moved]))


def _check_alphabet(tokenizer: TokenizerJson) -> None:
    if not tokenizer.merges:
        raise UnsupportedError(f"{tokenizer.path}: byte-level BPE without merges")
    missing = byte_alphabet() - tokenizer.vocab.keys()
    if missing:
        raise UnsupportedError(
            f"{tokenizer.path}: no token for {len(missing)} of the 256 bytes, such as "
            f"{show(min(missing))}",
            ("byte-level vocabularies with all 256 bytes",),
        )


def _rules(tokenizer: TokenizerJson) -> TextRules | None:
    """What llama.cpp cannot do alone; None when it needs no help."""
    form = _unicode_form(tokenizer)
    prefixed = adds_prefix_space(tokenizer.pre_tokenizers)
    if prefixed and len(tokenizer.pre_tokenizers) > 1:
        raise UnsupportedError(
            f"{tokenizer.path}: add_prefix_space after another pre-tokenizer",
            ("add_prefix_space of a single ByteLevel",),
        )
    added = tokenizer.added
    exact = all(token.is_plain and seen_as_it_is(token) for token in added)
    if exact and not (form or prefixed or overlapping(added)):
        return None
    return TextRules(
        added_tokens=added,
        unicode_form=form,
        space_prefix=SpacePrefix.UNSPACED if prefixed else SpacePrefix.NONE,
    )


def _unicode_form(tokenizer: TokenizerJson) -> str:
    kinds = [step.kind for step in tokenizer.normalizers]
    if not kinds:
        return ""
    if len(kinds) > 1 or kinds[0] not in FORMS:
        raise UnsupportedError(
            f"{tokenizer.path}: normalizer {', '.join(kinds)} with byte-level BPE", FORMS
        )
    return kinds[0]


def seen_as_it_is(token: AddedToken) -> bool:
    """Whether llama.cpp is sure to agree that a token is special, or that it is not."""
    if token.special:
        return token.text not in _LOOKS_PLAIN
    return not _LOOKS_SPECIAL.match(token.text)
