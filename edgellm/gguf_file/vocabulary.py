"""Cross-checks between a GGUF file's tokenizer arrays; engines index one with another's count."""

import re
import struct
from collections.abc import Mapping
from math import isnan

from edgellm.gguf_file.cursor import Cursor
from edgellm.gguf_file.metadata import GGUFArray, Scalar

MAX_TOKENS = 1 << 21
_BYTE_TYPE = 6  # LLAMA_TOKEN_TYPE_BYTE
_BYTE_TOKEN = re.compile(rb"<0x[0-9A-F]{2}>")
_BYTE_LIKE = re.compile(rb"<0x..>", re.DOTALL)
_HEX_TOKEN = re.compile(rb"<0x[0-9A-Fa-f]{2}>")
_TOKENS = "tokenizer.ggml.tokens"
_SCORES = "tokenizer.ggml.scores"
_TYPES = "tokenizer.ggml.token_type"
_EOS_IDS = "edgellm.eos_token_ids"

Pairs = Mapping[str, Scalar | GGUFArray]


def check_vocabulary(cursor: Cursor, pairs: Pairs) -> None:
    """Check tokens, scores, types and special ids against each other; moves the cursor.

    A file without tokens has nothing to check. Raises FormatError.
    """
    if _TOKENS not in pairs:
        return
    tokens = _array(cursor, pairs, _TOKENS, ("str",))
    if not 0 < tokens.count <= MAX_TOKENS:
        raise cursor.error(f"{_TOKENS} has {tokens.count} entries; expected 1 to {MAX_TOKENS}")
    _check_scores(cursor, pairs, tokens.count)
    _check_tokens(cursor, tokens, _byte_ids(cursor, pairs, tokens.count))
    _check_special_ids(cursor, pairs, tokens.count)


def _array(cursor: Cursor, pairs: Pairs, key: str, types: tuple[str, ...]) -> GGUFArray:
    array = pairs[key]
    if not isinstance(array, GGUFArray) or array.element_type not in types:
        raise cursor.error(f"{key} is not an array of {' or '.join(types)}")
    return array


def _per_token(
    cursor: Cursor, pairs: Pairs, key: str, types: tuple[str, ...], n_tokens: int
) -> bytes:
    """The raw elements of an array with one 4-byte element per token; empty when it is absent."""
    if key not in pairs:
        return b""
    array = _array(cursor, pairs, key, types)
    if array.count != n_tokens:
        raise cursor.error(f"{key} has {array.count} entries for {n_tokens} tokens")
    cursor.seek(array.offset)
    return cursor.take(array.bytes, key)


def _check_scores(cursor: Cursor, pairs: Pairs, n_tokens: int) -> None:
    raw = _per_token(cursor, pairs, _SCORES, ("f32", "i32"), n_tokens)
    if not raw or _array(cursor, pairs, _SCORES, ("f32", "i32")).element_type == "i32":
        return
    # Merging by score needs an order, and NaN has none.
    if any(isnan(score) for (score,) in struct.iter_unpack("<f", raw)):
        raise cursor.error(f"{_SCORES} contains NaN")


def _byte_ids(cursor: Cursor, pairs: Pairs, n_tokens: int) -> frozenset[int]:
    raw = _per_token(cursor, pairs, _TYPES, ("i32",), n_tokens)
    kinds = struct.iter_unpack("<i", raw)
    return frozenset(index for index, (kind,) in enumerate(kinds) if kind == _BYTE_TYPE)


def _check_tokens(cursor: Cursor, tokens: GGUFArray, byte_ids: frozenset[int]) -> None:
    cursor.seek(tokens.offset)
    seen: set[bytes] = set()
    for index, token in enumerate(cursor.strings(tokens.count, f"an entry of {_TOKENS}")):
        seen.add(token or b"[EMPTY_%d]" % index)  # as llama.cpp names them
        if index in byte_ids:
            if not _BYTE_TOKEN.fullmatch(token):
                raise cursor.error(f"token {index} is a byte but reads {token[:20]!r}, not <0xHH>")
        elif _BYTE_LIKE.fullmatch(token) and not _HEX_TOKEN.fullmatch(token):
            raise cursor.error(f"token {index} {token!r} looks like a byte and is none")
    if len(seen) != tokens.count:
        raise cursor.error(f"{_TOKENS} has {tokens.count} entries, only {len(seen)} are different")


def _check_special_ids(cursor: Cursor, pairs: Pairs, n_tokens: int) -> None:
    for key, value in pairs.items():
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id"):
            _check_id(cursor, key, value, n_tokens)
    if _EOS_IDS in pairs:
        array = _array(cursor, pairs, _EOS_IDS, ("u32", "i32"))
        cursor.seek(array.offset)
        layout = "<I" if array.element_type == "u32" else "<i"
        for (token,) in struct.iter_unpack(layout, cursor.take(array.bytes, _EOS_IDS)):
            _check_id(cursor, _EOS_IDS, token, n_tokens)


def _check_id(cursor: Cursor, key: str, value: object, n_tokens: int) -> None:
    if type(value) is not int or not 0 <= value < n_tokens:
        raise cursor.error(f"{key} is {value!r}; expected a token id below {n_tokens}")
