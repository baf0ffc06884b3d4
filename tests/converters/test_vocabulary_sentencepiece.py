"""Token ids of converted sentencepiece vocabularies, against the sentencepiece library."""

from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from edgellm.errors import UnsupportedError
from edgellm.tokenizer.sentencepiece_model import PieceType
from tests.support.awkward_text import awkward_lines
from tests.support.checkpoints import write_checkpoint
from tests.support.tokenizers import (
    IDENTITY,
    llama_tokenizer,
    train_sentencepiece,
    vocabulary_of,
)

LINES = awkward_lines(2000, seed=1)
HTML = ["<sp>x</sp> <small>this</small> is=<unk_x> goods> cs> <u>"] * 2000

# Settings of the trainer, and whether llama.cpp gives the same ids without our rules.
TRAINED: dict[str, tuple[dict[str, Any], bool]] = {
    "identity": (IDENTITY, True),
    "no dummy prefix": ({**IDENTITY, "add_dummy_prefix": False}, True),
    "low coverage": ({**IDENTITY, "character_coverage": 0.98}, True),
    "pieces across words": (
        {**IDENTITY, "split_by_whitespace": False, "allow_whitespace_only_pieces": True},
        True,
    ),
    "control symbols": ({**IDENTITY, "control_symbols": ["<|user|>", "<|end|>"]}, True),
    "no bos": ({**IDENTITY, "bos_id": -1, "eos_id": 1, "pad_id": 2}, True),
    "user-defined symbols": (
        {**IDENTITY, "user_defined_symbols": ["<|user|>", "<|end|>", "  ", "<|"]},
        False,
    ),
    "nmt_nfkc": ({}, False),
    "nmt_nfkc with symbols": ({"user_defined_symbols": ["<|user|>", "\uff46"]}, False),
    "spaces collapsed": ({"normalization_rule_name": "identity"}, False),
}


def test_the_bundled_tokenizer_gives_the_same_ids(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(write_checkpoint(tmp_path, tokenizer=True))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    with llama_tokenizer(tmp_path, vocabulary) as tokenize:
        assert [tokenize(line) for line in LINES] == reference.encode(LINES)


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models_give_the_same_ids(name: str, tmp_path: Path) -> None:
    settings, llama_cpp_alone = TRAINED[name]
    model = train_sentencepiece(tmp_path, **settings)
    reference = sentencepiece.SentencePieceProcessor(model_file=str(model))
    vocabulary = vocabulary_of(tmp_path)
    assert (vocabulary.table.rules is None) == llama_cpp_alone
    with llama_tokenizer(tmp_path, vocabulary) as tokenize:
        assert [tokenize(line) for line in LINES] == reference.encode(LINES)


def test_text_never_becomes_a_control_token(tmp_path: Path) -> None:
    model = train_sentencepiece(
        tmp_path, awkward_lines(1000, 7) + HTML, split_by_unicode_script=False, **IDENTITY
    )
    reference = sentencepiece.SentencePieceProcessor(model_file=str(model))
    lines = [*LINES, "<s>", "a<s>b</s>", "\u2581<s>", "<unk><s></s>"]
    with llama_tokenizer(tmp_path, vocabulary_of(tmp_path)) as tokenize:
        assert 1 in tokenize("a<s>b", alone=True)
        assert [tokenize(line) for line in lines] == reference.encode(lines)


def test_special_text_becomes_special_tokens_when_asked_to(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(write_checkpoint(tmp_path, tokenizer=True))
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    with llama_tokenizer(tmp_path, vocabulary) as tokenize:
        ids = tokenize("<|user|>Good day<|end|><|assistant|>", parse_special=True)
    assert ids == [4, *reference.encode("Good day"), 6, 5]


def test_added_tokens_get_their_places_and_gaps_are_unused(tmp_path: Path) -> None:
    model = train_sentencepiece(tmp_path, **IDENTITY)
    count = sentencepiece.SentencePieceProcessor(model_file=str(model)).vocab_size()
    (tmp_path / "added_tokens.json").write_text(f'{{"<tool>": {count + 1}}}')
    table = vocabulary_of(tmp_path).table
    assert (table.tokens[count + 1], table.types[count + 1]) == ("<tool>", PieceType.USER_DEFINED)
    assert (table.tokens[count], table.types[count]) == (f"[PAD{count}]", PieceType.UNUSED)
    with llama_tokenizer(tmp_path, vocabulary_of(tmp_path)) as tokenize:
        assert count + 1 in tokenize("a<tool>b")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model_type": "unigram"}, "unigram"),
        ({"model_type": "char"}, "char"),
        ({"byte_fallback": False}, "without byte fallback"),
        ({"treat_whitespace_as_suffix": True}, "treat_whitespace_as_suffix"),
    ],
)
def test_models_that_llama_cpp_cannot_run_exactly_are_refused(
    settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    train_sentencepiece(tmp_path, **settings)
    with pytest.raises(UnsupportedError, match=f"{said}.*supported: sentencepiece BPE"):
        vocabulary_of(tmp_path)
