"""A sentencepiece-like `tokenizer.json` as a GGUF token table.

Such a file has byte-fallback BPE over whole text with spaces written as U+2581, as transformers
saves Llama and Mistral tokenizers. Two of llama.cpp's tokenizers come close:

* "llama" merges the neighbours whose union has the highest score. It is exact where every pair of
  tokens whose union is a token has a merge, and rank orders merges by their union alone.
* "gpt2" with the pre-tokenizer "sarvam-moe" merges by rank, though never across a newline. It adds
  no leading space, which only our rules mend; so it is taken where "llama" is not exact.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from edgellm.converters.gguf.byte_level_table import seen_as_it_is, token_types
from edgellm.converters.gguf.merging import check_spellings, is_symbol, may_form, spell, splits
from edgellm.converters.gguf.sentencepiece_table import BYTE_TOKEN
from edgellm.converters.gguf.template import added_ends
from edgellm.converters.gguf.token_table import TokenTable
from edgellm.errors import UnsupportedError
from edgellm.json_file import show
from edgellm.tokenizer.added_tokens import AddedToken, overlapping
from edgellm.tokenizer.sentencepiece_model import PieceType
from edgellm.tokenizer.text_rules import SPACE, SpacePrefix, TextRules
from edgellm.tokenizer.tokenizer_json import TokenizerJson, require_byte_fallback

_MERGE_BY_RANK = "sarvam-moe"
_SUPPORTED = (
    "Prepend and Replace normalizers without pre-tokenizer",
    "a Metaspace pre-tokenizer without normalizer",
)


def piece_table(tokenizer: TokenizerJson) -> TokenTable:
    """The tokens of a byte-fallback BPE `tokenizer.json`.

    Raises FormatError for a broken file, UnsupportedError for one that llama.cpp cannot follow.
    """
    prefix = _space_prefix(tokenizer)
    require_byte_fallback(tokenizer)
    tokens = tokenizer.tokens()
    ends = added_ends(tokenizer)
    by_score = _merges_by_score(tokenizer)
    if not by_score:
        _check_newlines(tokenizer)
    spellings = _spellings(tokenizer) if by_score else {}
    return TokenTable(
        model="llama" if by_score else "gpt2",
        pre=None if by_score else _MERGE_BY_RANK,
        tokens=tuple(tokens.get(i, f"[PAD{i}]") for i in range(max(tokens) + 1)),
        types=_types(tokenizer, tokens),
        scores=_scores(tokenizer, tokens, spellings) if by_score else (),
        merges=() if by_score else tuple(f"{left} {right}" for left, right in tokenizer.merges),
        add_space_prefix=by_score and prefix is not SpacePrefix.NONE,
        rules=_rules(tokenizer, prefix, by_score, spellings),
        bos_id=ends[0] if ends else None,
        eos_id=ends[1] if ends else None,
        unk_id=tokenizer.vocab.get(tokenizer.unk_token or ""),
        add_bos=ends[0] is not None if ends else None,
        add_eos=ends[1] is not None if ends else None,
    )


def _space_prefix(tokenizer: TokenizerJson) -> SpacePrefix:
    """Where the file puts a leading space; spaces become U+2581 in every form taken here."""
    normalizers = [step.kind for step in tokenizer.normalizers]
    pre_tokenizers = [step.kind for step in tokenizer.pre_tokenizers]
    if not pre_tokenizers and normalizers in (["Replace"], ["Prepend", "Replace"]):
        _check_escape(tokenizer)
        return SpacePrefix.EACH if len(normalizers) == 2 else SpacePrefix.NONE
    if not normalizers and pre_tokenizers == ["Metaspace"]:
        return _metaspace_prefix(tokenizer)
    raise _unsupported(tokenizer, f"normalizer {normalizers} with pre-tokenizer {pre_tokenizers}")


def _check_escape(tokenizer: TokenizerJson) -> None:
    replace = tokenizer.normalizers[-1].settings
    pattern = replace.section("pattern")
    escapes = pattern is not None and pattern.text("String") == " "
    prepends = [step.settings.text("prepend") for step in tokenizer.normalizers[:-1]]
    if not escapes or replace.text("content") != SPACE or prepends not in ([], [SPACE]):
        raise _unsupported(tokenizer, "a normalizer that does not turn spaces into U+2581")


def _metaspace_prefix(tokenizer: TokenizerJson) -> SpacePrefix:
    settings = tokenizer.pre_tokenizers[0].settings
    if settings.text("replacement") != SPACE:
        raise _unsupported(tokenizer, f"Metaspace with {show(settings.text('replacement'))}")
    inner = next((text for text in tokenizer.vocab if SPACE in text[1:]), None)
    if inner is not None and settings.boolean("split", True):
        raise _unsupported(tokenizer, f"Metaspace with split=true and a token {show(inner)}")
    # Files from before prepend_scheme say add_prefix_space.
    default = "always" if settings.boolean("add_prefix_space", True) else "never"
    scheme = settings.text("prepend_scheme") or default
    schemes = {
        "always": SpacePrefix.UNSPACED,
        "first": SpacePrefix.FIRST_UNSPACED,
        "never": SpacePrefix.NONE,
    }
    if scheme not in schemes:
        raise settings.fault("prepend_scheme", "always, first or never")
    return schemes[scheme]


def _unsupported(tokenizer: TokenizerJson, what: str) -> UnsupportedError:
    return UnsupportedError(f"{tokenizer.path}: {what}", _SUPPORTED)


def _types(tokenizer: TokenizerJson, tokens: Mapping[int, str]) -> tuple[PieceType, ...]:
    types = list(token_types(tokens, tokenizer.added))
    for token_id, text in tokens.items():
        if types[token_id] is PieceType.NORMAL and BYTE_TOKEN.fullmatch(text):
            types[token_id] = PieceType.BYTE
    unknown = tokenizer.vocab.get(tokenizer.unk_token or "")
    if unknown is not None:
        types[unknown] = PieceType.UNKNOWN
    return tuple(types)


def _scores(
    tokenizer: TokenizerJson, tokens: Mapping[int, str], spellings: Mapping[int, tuple[int, ...]]
) -> tuple[float, ...]:
    """Minus the rank of a token; a token that must not form gets the lowest, so it forms last."""
    ranks = _union_ranks(tokenizer)
    lowest = -float(len(ranks))
    return tuple(
        lowest if token_id in spellings else -float(ranks.get(tokens.get(token_id, ""), 0))
        for token_id in range(max(tokens) + 1)
    )


def _union_ranks(tokenizer: TokenizerJson) -> dict[str, int]:
    """What merges make, in the order of their first merge."""
    unions = dict.fromkeys(left + right for left, right in tokenizer.merges)
    return {union: rank for rank, union in enumerate(unions)}


def _merges_by_score(tokenizer: TokenizerJson) -> bool:
    """Whether merging by the score of the union gives what merging by pair rank gives.

    Two pairs with the same union could still differ in rank where they overlap ("xyz", x + y ==
    y + z), but no vocabulary was found that leaves x, y and z side by side.
    """
    ranks = _union_ranks(tokenizer)
    order = [ranks[left + right] for left, right in tokenizer.merges]
    if order != sorted(order):
        return False
    pairs = set(tokenizer.merges)
    found_first = {token.text for token in tokenizer.added}
    return all(
        _closed(token, ranks, pairs) for token in tokenizer.vocab if token not in found_first
    )


def _closed(token: str, ranks: Mapping[str, int], pairs: Collection[tuple[str, str]]) -> bool:
    """Whether every two symbols that join to a token have a merge."""
    return all(
        pair in pairs
        for pair in splits(token)
        if is_symbol(pair[0], ranks) and is_symbol(pair[1], ranks)
    )


def _check_newlines(tokenizer: TokenizerJson) -> None:
    for left, right in tokenizer.merges:
        union = left + right
        if "\n" in union and union.strip("\n"):
            raise UnsupportedError(
                f"{tokenizer.path}: a token {show(union)} with a newline and merges that llama.cpp "
                "cannot order by score",
                ("newlines in tokens of their own",),
            )


def _spellings(tokenizer: TokenizerJson) -> dict[int, tuple[int, ...]]:
    """Added tokens that merging by score makes from plain text, and what to make of it instead."""
    ranks = _union_ranks(tokenizer)
    pairs = {pair: rank for rank, pair in enumerate(tokenizer.merges)}
    formed = [t for t in tokenizer.added if t.text not in ranks and may_form(t.text, ranks)]
    check_spellings(tokenizer.path, len(formed))
    return {
        token.id: spell(token.text, lambda a, b: pairs.get((a, b)), tokenizer.vocab)
        for token in formed
    }


def _rules(
    tokenizer: TokenizerJson,
    prefix: SpacePrefix,
    by_score: bool,
    spellings: Mapping[int, tuple[int, ...]],
) -> TextRules | None:
    """What llama.cpp cannot do alone; None when it needs no help."""
    rules = TextRules(escape_spaces=True, space_prefix=prefix)
    added = tuple(_as_looked_for(token, tokenizer, rules) for token in tokenizer.added)
    prefix_agrees = prefix is SpacePrefix.NONE or (by_score and prefix is SpacePrefix.EACH)
    exact = all(t.is_plain and not t.normalized and seen_as_it_is(t) for t in added)
    if exact and prefix_agrees and not spellings and not overlapping(added):
        return None
    return replace(rules, added_tokens=added, spellings=tuple(sorted(spellings.items())))


def _as_looked_for(token: AddedToken, tokenizer: TokenizerJson, rules: TextRules) -> AddedToken:
    """The library normalizes the tokens that it looks for in normalized text, prefix and all."""
    if not tokenizer.normalizers or not token.normalized:
        return replace(token, normalized=False)
    return replace(token, text=rules.normalize(token.text))
