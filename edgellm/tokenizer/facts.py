"""Which of a checkpoint's tokenizer files is used, and whether another one says something else.

`tokenizer.json` wins over `tokenizer.model`, as in transformers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgellm.checkpoint import Checkpoint, TokenizerFiles
from edgellm.errors import InputError
from edgellm.json_file import show
from edgellm.tokenizer.pretokenizers import find_pre_tokenizer
from edgellm.tokenizer.sentencepiece_model import PieceType, read_sentencepiece, require_supported
from edgellm.tokenizer.settings import read_tokenizer_settings
from edgellm.tokenizer.tokenizer_json import read_tokenizer_json, require_byte_fallback


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What `inspect` says about a tokenizer."""

    kind: str  # "sentencepiece", "byte-level BPE", "BPE with byte fallback", "unknown" or "none"
    source: str  # the file that is used; empty when there is none
    vocab_size: int  # tokens in that file and beside it; 0 when it cannot be read
    pre_tokenizer: str | None  # llama.cpp's name, for byte-level BPE
    also_present: str | None  # a second tokenizer file, which is not used
    differs: str | None  # how that one differs; None when it says the same
    has_chat_template: bool
    problem: str | None  # why it cannot be converted


@dataclass(frozen=True, slots=True)
class _Reading:
    """One tokenizer file, read."""

    kind: str
    tokens: Mapping[int, str] = field(default_factory=dict)
    special: frozenset[int] = frozenset()
    pre_tokenizer: str | None = None


def used_tokenizer(files: TokenizerFiles) -> Path | None:
    """The file that decides token ids; None when the checkpoint has no tokenizer."""
    return files.tokenizer_json or files.tokenizer_model


def describe_tokenizer(checkpoint: Checkpoint) -> TokenizerFacts:
    """Look at the tokenizer files; what is wrong with them is reported, not raised."""
    files = checkpoint.tokenizer
    used = used_tokenizer(files)
    reading, problem = _try_reading(used, files)
    other = files.tokenizer_model if used == files.tokenizer_json else None
    has_template, settings_problem = _has_chat_template(files)
    return TokenizerFacts(
        kind=reading.kind,
        source=used.name if used else "",
        vocab_size=max(reading.tokens, default=-1) + 1,
        pre_tokenizer=reading.pre_tokenizer,
        also_present=other.name if other else None,
        differs=_difference(reading, other, files) if other and reading.tokens else None,
        has_chat_template=has_template,
        problem=problem or settings_problem,
    )


def _try_reading(path: Path | None, files: TokenizerFiles) -> tuple[_Reading, str | None]:
    """As much of a file as can be read, and what is wrong with it."""
    if path is None:
        return _Reading("none"), "no tokenizer; expected tokenizer.json or tokenizer.model"
    try:
        return _read_model(path, files) if path == files.tokenizer_model else _read_json(path)
    except InputError as error:
        return _Reading("unknown"), str(error)


def _read_model(path: Path, files: TokenizerFiles) -> tuple[_Reading, str | None]:
    model = read_sentencepiece(path)
    added = read_tokenizer_settings(files).added
    tokens = {i: piece.text for i, piece in enumerate(model.pieces)}
    control = (PieceType.CONTROL, PieceType.UNKNOWN)
    special = {i for i, piece in enumerate(model.pieces) if piece.type in control}
    reading = _Reading(
        "sentencepiece",
        tokens | {token.id: token.text for token in added},
        frozenset(special | {token.id for token in added if token.special}),
    )
    return reading, _problem(lambda: require_supported(path, model))


def _read_json(path: Path) -> tuple[_Reading, str | None]:
    tokenizer = read_tokenizer_json(path)
    special = frozenset(token.id for token in tokenizer.added if token.special)
    if not tokenizer.is_byte_level:
        reading = _Reading("BPE with byte fallback", tokenizer.tokens(), special)
        return reading, _problem(lambda: require_byte_fallback(tokenizer))
    reading = _Reading("byte-level BPE", tokenizer.tokens(), special)
    try:
        found = find_pre_tokenizer(tokenizer)
    except InputError as error:
        return reading, str(error)
    return replace(reading, pre_tokenizer=found.name), None


def _problem(check: Callable[[], None]) -> str | None:
    try:
        check()
    except InputError as error:
        return str(error)
    return None


def _difference(used: _Reading, other: Path, files: TokenizerFiles) -> str | None:
    """How the file that is not used differs from the one that is; None when it does not."""
    reading, problem = _try_reading(other, files)
    if not reading.tokens:
        return problem
    for token_id in sorted(used.tokens.keys() | reading.tokens.keys()):
        here, there = used.tokens.get(token_id), reading.tokens.get(token_id)
        if here != there:
            return f"token {token_id} is {_named(there)}, not {_named(here)}"
    for token_id in sorted(used.special ^ reading.special):
        said = "special" if token_id in reading.special else "not special"
        return f"token {token_id}, {_named(used.tokens[token_id])}, is {said}"
    return None


def _named(text: str | None) -> str:
    return "absent" if text is None else show(text, 40)


def _has_chat_template(files: TokenizerFiles) -> tuple[bool, str | None]:
    try:
        settings = read_tokenizer_settings(files)
    except InputError as error:
        return False, str(error)
    return settings.chat_template is not None, None
