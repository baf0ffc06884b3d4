"""Which of llama.cpp's pre-tokenizers splits text exactly as a `tokenizer.json` says.

A pre-tokenizer is recognised by what it is: the regular expressions that split the text, in order,
and whether a piece that is a token is taken whole. The expressions are compared, never run. Only
those are listed that llama.cpp implements exactly: some of its others approximate. One difference
stays: llama.cpp's tables are of Unicode 15.1, so the 4,382 letters and digits that came later
(hieroglyphs, mostly) are neither for it, and words break at them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgellm.errors import UnsupportedError
from edgellm.json_file import show
from edgellm.tokenizer.tokenizer_json import Component, TokenizerJson

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DIGIT = r"\p{N}"
_SHOWN_PATTERN = 400  # characters of an unknown expression that an error shows


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """One pre-tokenizer of llama.cpp."""

    name: str  # tokenizer.ggml.pre
    patterns: tuple[str, ...]  # applied one after the other, each to the pieces of the last
    ignore_merges: bool  # a piece that is a token is taken whole


KNOWN = (
    PreTokenizer("llama-bpe", (LLAMA3,), ignore_merges=True),
    PreTokenizer("smaug-bpe", (LLAMA3,), ignore_merges=False),
    PreTokenizer("qwen2", (QWEN2,), ignore_merges=False),
    PreTokenizer("gpt-2", (GPT2,), ignore_merges=False),
    PreTokenizer("smollm", (DIGIT, GPT2), ignore_merges=False),
)


def find_pre_tokenizer(tokenizer: TokenizerJson) -> PreTokenizer:
    """The pre-tokenizer of a byte-level `tokenizer.json`.

    Raises UnsupportedError, which shows the expressions, where llama.cpp has none that is exact.
    """
    patterns = tuple(_pattern(tokenizer, step) for step in _splitters(tokenizer.pre_tokenizers))
    fitting = [row for row in KNOWN if row.patterns == patterns]
    for row in fitting:
        if row.ignore_merges == tokenizer.ignore_merges:
            return row
    if fitting:
        raise _unsupported(
            tokenizer, f"ignore_merges={tokenizer.ignore_merges} with {fitting[0].name}"
        )
    said = " then ".join(show(pattern, _SHOWN_PATTERN) for pattern in patterns)
    raise _unsupported(tokenizer, f"pre-tokenizer {said or 'that splits nothing'}")


def adds_prefix_space(steps: Sequence[Component]) -> bool:
    """Whether the byte-level step puts a space before text that has none."""
    return any(
        step.kind == "ByteLevel" and step.settings.boolean("add_prefix_space", True)
        for step in steps
    )


def _splitters(steps: Sequence[Component]) -> list[Component]:
    """The steps that split: all but a byte-level step that only translates."""
    return [
        step
        for step in steps
        if step.kind != "ByteLevel" or step.settings.boolean("use_regex", True)
    ]


def _pattern(tokenizer: TokenizerJson, step: Component) -> str:
    """The expression whose matches the step makes pieces of their own."""
    settings = step.settings
    if step.kind == "ByteLevel":
        return GPT2
    if step.kind == "Digits" and settings.boolean("individual_digits", False):
        return DIGIT
    section = settings.section("pattern") if step.kind == "Split" else None
    pattern = section.text("Regex") if section else None
    how = (settings.text("behavior"), settings.boolean("invert", False))
    # Every listed expression covers the whole text, so dropping what is between matches drops none.
    if pattern is None or how not in (("Isolated", False), ("Removed", True)):
        raise _unsupported(tokenizer, f"pre-tokenizer step {show(dict(settings.values))}")
    return pattern.replace("\r", r"\r").replace("\n", r"\n")


def _unsupported(tokenizer: TokenizerJson, what: str) -> UnsupportedError:
    known = [f"{row.name} ({' then '.join(row.patterns)})" for row in KNOWN]
    return UnsupportedError(f"{tokenizer.path}: {what}", known)
