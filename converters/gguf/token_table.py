"""The part of a GGUF vocabulary that comes from the tokenizer file alone."""

from dataclasses import dataclass, replace
from pathlib import Path

from edgellm.errors import FormatError
from edgellm.json_file import show
from edgellm.tokenizer.sentencepiece_model import PieceType
from edgellm.tokenizer.text_rules import TextRules

MAX_TOKEN_CHARS = 1024  # the longest published are runs of a few hundred spaces


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Every token of a tokenizer file, and how text becomes tokens."""

    model: str  # tokenizer.ggml.model: "llama" merges by score, "gpt2" and "gemma4" by merge rank
    tokens: tuple[str, ...]
    types: tuple[PieceType, ...]
    pre: str | None = None  # tokenizer.ggml.pre: llama.cpp's name of the pre-tokenizer
    scores: tuple[float, ...] = ()  # for "llama": higher merges first
    merges: tuple[str, ...] = ()  # for the others: "left right", first merges first
    add_space_prefix: bool = False
    rules: TextRules | None = None  # what llama.cpp cannot do alone
    bos_id: int | None = None  # as the tokenizer file says; None when it does not
    eos_id: int | None = None
    unk_id: int | None = None
    pad_id: int | None = None
    add_bos: bool | None = None
    add_eos: bool | None = None


def check_tokens(table: TokenTable, path: Path) -> None:
    """Raises FormatError for tokens that llama.cpp would abort on or cut short."""
    seen: dict[str, int] = {}
    for token_id, text in enumerate(table.tokens):
        problem = _token_problem(text, seen.get(text))
        if problem:
            raise FormatError(path, f"token {token_id}, {show(text, 40)}, {problem}")
        seen[text] = token_id


def padded(table: TokenTable, count: int) -> TokenTable:
    """The table with unused tokens up to `count`, as the embedding has rows for them."""
    missing = range(len(table.tokens), count)
    taken = set(table.tokens)
    names = tuple(_padding_name(token_id, taken) for token_id in missing)
    return replace(
        table,
        tokens=table.tokens + names,
        types=table.types + (PieceType.UNUSED,) * len(names),
        scores=table.scores + (0.0,) * len(names) if table.scores else (),
    )


def _padding_name(token_id: int, taken: set[str]) -> str:
    name = f"[PAD{token_id}]"
    while name in taken:
        name = f"[{name}]"
    return name


def _token_problem(text: str, twin: int | None) -> str:
    if twin is not None:
        return f"has the same text as token {twin}"
    if not text:
        return "has no text"
    if "\0" in text:
        return "holds a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "has half a surrogate"
    return f"is {len(text)} characters long" if len(text) > MAX_TOKEN_CHARS else ""
