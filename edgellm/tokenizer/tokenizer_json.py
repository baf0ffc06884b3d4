"""Reading a `tokenizer.json` of the tokenizers library into typed facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError, UnsupportedError
from edgellm.json_file import read_json, show
from edgellm.tokenizer.added_tokens import AddedToken
from edgellm.tokenizer.settings import added_token

MAX_FILE_BYTES = 64 << 20  # 262k tokens with their merges take 34 MB
MAX_TOKEN_ID = (1 << 21) - 1
MAX_VOCAB_CHARS = 4 << 20  # twice what 262k tokens take
_MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class Component:
    """One step of a normalizer, pre-tokenizer or post-processor; sequences are flattened."""

    kind: str
    settings: Fields


@dataclass(frozen=True, slots=True)
class TokenizerJson:
    """What a `tokenizer.json` with a BPE model says."""

    path: Path
    vocab: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]  # first merges first
    byte_fallback: bool
    ignore_merges: bool  # a pre-token that is in the vocabulary is taken whole
    fuse_unk: bool
    unk_token: str | None
    added: tuple[AddedToken, ...]
    normalizers: tuple[Component, ...]
    pre_tokenizers: tuple[Component, ...]
    post_processors: tuple[Component, ...]

    @property
    def is_byte_level(self) -> bool:
        return any(step.kind == "ByteLevel" for step in self.pre_tokenizers)

    def tokens(self) -> dict[int, str]:
        """Every token's text by id, the added ones too."""
        texts = {token_id: text for text, token_id in self.vocab.items()}
        return texts | {token.id: token.text for token in self.added}


def read_tokenizer_json(path: Path) -> TokenizerJson:
    """Read a `tokenizer.json`; nothing in it is run.

    Raises InputError or FormatError, and UnsupportedError for a model other than BPE.
    """
    root = Fields(path, read_json(path, MAX_FILE_BYTES))
    model = root.section("model")
    if model is None:
        raise root.fault("model", "an object")
    _check_model(model)
    vocab = _vocab(model)
    return TokenizerJson(
        path=path,
        vocab=vocab,
        merges=_merges(model, vocab),
        byte_fallback=model.boolean("byte_fallback", False),
        ignore_merges=model.boolean("ignore_merges", False),
        fuse_unk=model.boolean("fuse_unk", False),
        unk_token=model.text("unk_token"),
        added=_added(root, vocab),
        normalizers=_components(root, "normalizer", "normalizers"),
        pre_tokenizers=_components(root, "pre_tokenizer", "pretokenizers"),
        post_processors=_components(root, "post_processor", "processors"),
    )


def require_byte_fallback(tokenizer: TokenizerJson) -> None:
    """Raises UnsupportedError for BPE over characters that cannot spell every byte."""
    present = sum(f"<0x{byte:02X}>" in tokenizer.vocab for byte in range(256))
    if not tokenizer.byte_fallback or tokenizer.ignore_merges or present < 256:
        raise UnsupportedError(
            f"{tokenizer.path}: BPE with byte_fallback={tokenizer.byte_fallback}, "
            f"ignore_merges={tokenizer.ignore_merges} and {present} of 256 byte tokens",
            ("byte-level BPE", "BPE with byte fallback"),
        )


def _check_model(model: Fields) -> None:
    # Files of 2020 leave the type out; only BPE has merges.
    kind = model.text("type") or ("BPE" if model.has("merges") else None)
    if kind != "BPE":
        raise UnsupportedError(f"{model.path}: model.type {show(kind)} is not supported", ("BPE",))
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.text(name):
            raise UnsupportedError(f"{model.path}: model.{name} {show(model.text(name))}")
    if model.number("dropout", 0.0, low=0, high=1) > 0:
        raise UnsupportedError(f"{model.path}: model.dropout makes token ids random")


def _vocab(model: Fields) -> dict[str, int]:
    section = model.section("vocab")
    if section is None or not section.values:
        raise model.fault("vocab", "token ids by token")
    characters = 0
    ids: dict[int, str] = {}
    vocab: dict[str, int] = {}
    for text, token_id in section.values.items():
        if type(token_id) is not int or not 0 <= token_id <= MAX_TOKEN_ID:
            raise section.fault(text, f"an id from 0 to {MAX_TOKEN_ID}")
        if token_id in ids:
            raise FormatError(
                model.path, f"id {token_id} is that of {show(ids[token_id])} and of {show(text)}"
            )
        ids[token_id] = text
        characters += len(text)
        vocab[text] = token_id
    if characters > MAX_VOCAB_CHARS:
        raise FormatError(
            model.path, f"{characters} characters in all tokens; at most {MAX_VOCAB_CHARS} are read"
        )
    return vocab


def _merges(model: Fields, vocab: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """Merges are written as "left right" or as [left, right]."""
    written = model.values.get("merges")
    if not isinstance(written, list):
        raise model.fault("merges", "a list of pairs")
    merges = []
    for rank, entry in enumerate(written):
        parts = entry.split(" ") if isinstance(entry, str) else entry
        match parts:
            case [str(left), str(right)] if left + right in vocab:
                merges.append((left, right))
            case _:
                raise FormatError(
                    model.path, f"merge {rank} is {show(entry)}; expected two parts of a token"
                )
    return tuple(merges)


def _added(root: Fields, vocab: Mapping[str, int]) -> tuple[AddedToken, ...]:
    written = root.values.get("added_tokens") or []
    if not isinstance(written, list):
        raise root.fault("added_tokens", "a list")
    texts = {token_id: text for text, token_id in vocab.items()}
    for place, entry in enumerate(written):
        if not isinstance(entry, dict):
            raise FormatError(root.path, f"added_tokens[{place}] is {show(entry)}")
    entries = [Fields(root.path, e, f"added_tokens[{i}].") for i, e in enumerate(written)]
    tokens = [
        added_token(fields, fields.integer("id", low=0, high=MAX_TOKEN_ID)) for fields in entries
    ]
    for token in tokens:
        other = texts.setdefault(token.id, token.text)
        known = vocab.get(token.text, token.id)
        if other != token.text or known != token.id:
            raise FormatError(
                root.path,
                f"added token {show(token.text)} has id {token.id}; the vocabulary says otherwise",
            )
    return tuple(sorted(tokens, key=lambda token: token.id))


def _components(root: Fields, name: str, inner: str) -> tuple[Component, ...]:
    section = root.section(name)
    return () if section is None else _flattened(section, inner, _MAX_NESTING)


def _flattened(fields: Fields, inner: str, depth: int) -> tuple[Component, ...]:
    kind = fields.text("type")
    if kind is None or depth == 0:
        raise FormatError(fields.path, f"{fields.prefix}type is missing or nested too deeply")
    if kind != "Sequence":
        return (Component(kind, fields),)
    steps = fields.values.get(inner)
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise fields.fault(inner, "a list of objects")
    nested = [Fields(fields.path, s, f"{fields.prefix}{inner}[{i}].") for i, s in enumerate(steps)]
    return tuple(c for step in nested for c in _flattened(step, inner, depth - 1))
