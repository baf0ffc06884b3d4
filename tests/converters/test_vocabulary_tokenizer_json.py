"""Token ids of converted `tokenizer.json` vocabularies, against the tokenizers library."""

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, normalizers

from tests.support.awkward_text import awkward_lines
from tests.support.tokenizers import (
    IDENTITY,
    MergeEdit,
    llama_tokenizer,
    train_byte_level_bpe,
    train_sentencepiece,
    vocabulary_of,
    write_piece_bpe,
)

LINES = awkward_lines(2000, seed=2)
AWKWARD_TOKENS = [
    AddedToken("<|im_start|>", special=True),
    AddedToken("<|im_end|>"),
    AddedToken("<tool>", normalized=True),
    AddedToken("  "),
    AddedToken("    "),
    AddedToken("ab", single_word=True),
    AddedToken("<s>", lstrip=True, rstrip=True),
    AddedToken("\u00e9", normalized=True),
]

# Settings of the maker, llama.cpp's pre-tokenizer, and whether it needs no rules of ours.
BYTE_LEVEL: dict[str, tuple[dict[str, Any], str, bool]] = {
    "llama3": ({"pre": "llama3"}, "llama-bpe", True),
    "llama3 with merges": ({"pre": "llama3", "ignore_merges": False}, "smaug-bpe", True),
    "qwen2 without NFC": ({"pre": "qwen2"}, "qwen2", True),
    "qwen2": ({"pre": "qwen2", "normalizer": normalizers.NFC()}, "qwen2", False),
    "gpt2": ({"pre": "gpt2"}, "gpt-2", True),
    "gpt2 with a space": ({"pre": "gpt2", "prefix_space": True}, "gpt-2", False),
    "smollm": ({"pre": "smollm"}, "smollm", True),
    "special tokens": ({"added": [AddedToken("<|im_end|>", special=True)]}, "llama-bpe", True),
    "awkward tokens": (
        {"pre": "qwen2", "added": AWKWARD_TOKENS, "normalizer": normalizers.NFC()},
        "qwen2",
        False,
    ),
}


def assert_same_ids(folder: Path) -> None:
    """Both with special tokens in the text and with their text taken as text."""
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with llama_tokenizer(folder, vocabulary_of(folder)) as tokenize:
        for parse_special in (True, False):
            reference.encode_special_tokens = not parse_special
            expected = reference.encode_batch(LINES, add_special_tokens=False)
            for line, encoding in zip(LINES, expected, strict=True):
                assert tokenize(line, parse_special) == encoding.ids, ascii(line)


@pytest.mark.parametrize("name", BYTE_LEVEL)
def test_byte_level_bpe_gives_the_same_ids(name: str, tmp_path: Path) -> None:
    settings, pre, llama_cpp_alone = BYTE_LEVEL[name]
    train_byte_level_bpe(tmp_path, **settings)
    table = vocabulary_of(tmp_path).table
    assert (table.model, table.pre, table.rules is None) == ("gpt2", pre, llama_cpp_alone)
    assert_same_ids(tmp_path)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_sentencepiece(
        tmp_path_factory.mktemp("pieces"), control_symbols=["<|user|>"], **IDENTITY
    )


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("scheme", ["prepend", "none", "first", "always", "never"])
def test_byte_fallback_bpe_gives_the_same_ids(
    scheme: str, normalized: bool, model: Path, tmp_path: Path
) -> None:
    write_piece_bpe(tmp_path, model, scheme=scheme, normalized=normalized)
    assert vocabulary_of(tmp_path).table.model == "llama"
    assert_same_ids(tmp_path)


def without_every_seventh(merges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for i, pair in enumerate(merges) if i % 7]


def shuffled(merges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return random.Random(1).sample(merges, len(merges))


@pytest.mark.parametrize("edit", [without_every_seventh, shuffled])
@pytest.mark.parametrize("scheme", ["prepend", "first", "never"])
def test_merges_that_scores_cannot_express_go_by_rank(
    scheme: str, edit: MergeEdit, model: Path, tmp_path: Path
) -> None:
    write_piece_bpe(tmp_path, model, scheme=scheme, edit=edit)
    table = vocabulary_of(tmp_path).table
    assert (table.model, table.pre) == ("gpt2", "sarvam-moe")
    assert_same_ids(tmp_path)
