"""Whether a draft model's file fits the model, before it is loaded."""

import struct
from pathlib import Path

from edgellm.errors import UsageError
from edgellm.gguf_file import GGUFFile
from edgellm.gguf_file.metadata import GGUFArray

_TOKENS = "tokenizer.ggml.tokens"
_LENGTH = struct.Struct("<Q")  # of a string
_ENDS = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id")


def check_vocabularies(model: GGUFFile, draft: GGUFFile) -> None:
    """Token for token the same: guesses are token ids. Raises UsageError."""
    for key in _ENDS:
        found, wanted = draft.metadata.get(key), model.metadata.get(key)
        if found != wanted:
            raise _unlike(draft, f"{key} is {found}", model, f"is {wanted}")
    tokens, expected_tokens = _tokens(draft), _tokens(model)
    if len(tokens) != len(expected_tokens):
        raise _unlike(draft, f"{len(tokens)} tokens", model, f"has {len(expected_tokens)}")
    for token, (text, expected) in enumerate(zip(tokens, expected_tokens, strict=True)):
        if text != expected:
            raise _unlike(
                draft, f"token {token} is {_shown(text)}", model, f"is {_shown(expected)}"
            )


def _unlike(draft: GGUFFile, has: str, model: GGUFFile, expected: str) -> UsageError:
    return UsageError(
        f"{draft.path}: cannot draft for {model.path}: {has}, there it {expected}; use a smaller "
        "model of the same family, with the same tokenizer"
    )


def _shown(token: bytes) -> str:
    return repr(token.decode("utf-8", "replace"))


def _tokens(file: GGUFFile) -> list[bytes]:
    """The texts of all tokens, as read_gguf() has checked them; none where the file has none."""
    array = file.metadata.get(_TOKENS)
    if isinstance(array, tuple):
        return [str(text).encode() for text in array]
    if not isinstance(array, GGUFArray):
        return []
    with Path(file.path).open("rb") as source:
        source.seek(array.offset)
        raw = source.read(array.bytes)
    texts, at = [], 0
    for _ in range(array.count):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size + length
        texts.append(raw[at - length : at])
    return texts
