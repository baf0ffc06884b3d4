"""A sentencepiece `tokenizer.model` as a GGUF token table.

llama.cpp's "llama" tokenizer is sentencepiece's BPE: it merges the neighbours whose union has the
highest score and spells what is left in byte tokens. It differs in three ways, met by TextRules:

* It knows no normalization beyond the leading space.
* It adds that space after every special token, a user-defined symbol included; sentencepiece adds
  it once, at the start of the text. Symbols with names such as "<|end|>" it takes for special ones.
* It may merge text into a control token ("<s" and ">" where a piece "<s" exists). Such a token gets
  the lowest score, so that it forms last, and the rules tell what to spell it as instead.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from edgellm.converters.gguf.merging import check_spellings, may_form, spell
from edgellm.converters.gguf.token_table import TokenTable
from edgellm.errors import FormatError, UnsupportedError
from edgellm.json_file import show
from edgellm.tokenizer.added_tokens import AddedToken
from edgellm.tokenizer.sentencepiece_model import (
    Piece,
    PieceType,
    SentencePieceModel,
    read_sentencepiece,
    require_supported,
)
from edgellm.tokenizer.text_rules import SpacePrefix, TextRules

BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


def sentencepiece_table(path: Path, added: tuple[AddedToken, ...]) -> TokenTable:
    """The tokens of a `tokenizer.model` and of the files beside it that add to it.

    Raises FormatError for a broken model, UnsupportedError for one that is not byte-fallback BPE.
    """
    model = read_sentencepiece(path)
    require_supported(path, model)
    _check_bytes(path, model)
    pieces = _with_added(path, model.pieces, added)
    spellings = _spellings(path, model, pieces)
    rules = _rules(model, pieces, added, spellings)
    _check_charsmap(path, rules)
    return TokenTable(
        model="llama",
        tokens=tuple(piece.text for piece in pieces),
        types=tuple(piece.type for piece in pieces),
        scores=_scores(pieces, spellings),
        add_space_prefix=model.add_dummy_prefix,
        rules=rules,
        bos_id=_known(model.bos_id),
        eos_id=_known(model.eos_id),
        unk_id=_known(model.unk_id),
        pad_id=_known(model.pad_id),
        add_bos=model.bos_id >= 0,
    )


def _check_bytes(path: Path, model: SentencePieceModel) -> None:
    values = [BYTE_TOKEN.fullmatch(p.text) for p in model.pieces if p.type is PieceType.BYTE]
    if None in values or len({match[1] for match in values if match}) != 256:
        raise FormatError(path, f"{len(values)} byte pieces; expected <0x00> to <0xFF>")


def _check_charsmap(path: Path, rules: TextRules | None) -> None:
    try:
        if rules is not None:
            rules.normalize("a")
    except RuntimeError as error:
        raise FormatError(path, f"broken normalization rules: {error}") from error


def _known(token_id: int) -> int | None:
    return token_id if token_id >= 0 else None


def _with_added(
    path: Path, pieces: tuple[Piece, ...], added: tuple[AddedToken, ...]
) -> tuple[Piece, ...]:
    """The pieces with added tokens in their places; gaps become unused tokens."""
    by_id = {token.id: token for token in added}
    gaps = range(len(pieces), max(by_id, default=-1) + 1)
    every = [*pieces, *(Piece(f"[PAD{i}]", 0.0, PieceType.UNUSED) for i in gaps)]
    for token_id, token in by_id.items():
        every[token_id] = _added_piece(path, every[token_id], token, token_id < len(pieces))
    return tuple(every)


def _added_piece(path: Path, piece: Piece, token: AddedToken, in_model: bool) -> Piece:
    if in_model and piece.text != token.text and piece.type is PieceType.NORMAL:
        raise FormatError(
            path,
            f"token {token.id} is {show(piece.text, 40)} here and {show(token.text, 40)} "
            "in the added tokens",
        )
    if in_model and piece.type is not PieceType.NORMAL and piece.type is not PieceType.UNUSED:
        return Piece(token.text, piece.score, piece.type)
    kind = PieceType.CONTROL if token.special else PieceType.USER_DEFINED
    return Piece(token.text, piece.score, kind)


def _spellings(
    path: Path, model: SentencePieceModel, pieces: tuple[Piece, ...]
) -> dict[int, tuple[int, ...]]:
    """Tokens that llama.cpp may merge text into and sentencepiece does not: what it makes of it."""
    ids = {p.text: i for i, p in enumerate(model.pieces) if p.type is PieceType.NORMAL}
    parts = ids.keys() | {p.text for p in model.pieces if p.type is PieceType.UNUSED}
    formed = [
        token_id
        for token_id, piece in enumerate(pieces)
        if piece.text not in ids
        and piece.type is not PieceType.USER_DEFINED
        and may_form(piece.text, parts)
    ]
    if any(pieces[token_id].type is PieceType.BYTE for token_id in formed):
        raise UnsupportedError(f"{path}: pieces that llama.cpp would join to a byte token")
    check_spellings(path, len(formed))
    spoken = ids | {p.text: i for i, p in enumerate(model.pieces) if p.type is PieceType.BYTE}

    def rank(left: str, right: str) -> float | None:
        found = ids.get(left + right)
        return None if found is None else -model.pieces[found].score

    return {i: spell(pieces[i].text, rank, spoken) for i in formed}


def _scores(pieces: tuple[Piece, ...], spellings: dict[int, tuple[int, ...]]) -> tuple[float, ...]:
    """Scores as stored; a token that must not form gets the lowest, so it forms last if at all."""
    lowest = min(piece.score for piece in pieces) - 1
    return tuple(
        lowest if token_id in spellings and piece.type is not PieceType.UNUSED else piece.score
        for token_id, piece in enumerate(pieces)
    )


def _rules(
    model: SentencePieceModel,
    pieces: tuple[Piece, ...],
    added: tuple[AddedToken, ...],
    spellings: dict[int, tuple[int, ...]],
) -> TextRules | None:
    """What llama.cpp cannot do alone; None when it needs no help."""
    symbols = {p.text: i for i, p in enumerate(model.pieces) if p.type is PieceType.USER_DEFINED}
    stripping = any(not token.is_plain for token in added)
    normalizing = model.charsmap or model.remove_extra_whitespaces
    if not (normalizing or symbols or spellings or stripping):
        return None
    return TextRules(
        added_tokens=_tokens_to_find(pieces, added, symbols),
        charsmap=model.charsmap,
        charsmap_keeps=tuple(symbols),
        remove_extra_spaces=model.remove_extra_whitespaces,
        escape_spaces=True,
        space_prefix=SpacePrefix.EACH if model.add_dummy_prefix else SpacePrefix.NONE,
        spellings=tuple(sorted(spellings.items())),
    )


def _tokens_to_find(
    pieces: tuple[Piece, ...], added: tuple[AddedToken, ...], symbols: Mapping[str, int]
) -> tuple[AddedToken, ...]:
    """Special and added tokens in raw text, then user-defined symbols in normalized text."""
    special = (PieceType.CONTROL, PieceType.UNKNOWN)
    found = {
        token_id: AddedToken(token_id, piece.text, special=True)
        for token_id, piece in enumerate(pieces)
        if piece.type in special
    }
    found |= {token.id: token for token in added}
    found |= {
        token_id: AddedToken(token_id, text, special=False, normalized=True)
        for text, token_id in symbols.items()
    }
    return tuple(token for _, token in sorted(found.items()))
