"""Which tokenizer a checkpoint is said to have."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgellm.tokenizer.facts import TokenizerFacts, describe_tokenizer
from tests.support.checkpoints import write_checkpoint
from tests.support.tokenizers import (
    IDENTITY,
    open_tokenizer_folder,
    train_byte_level_bpe,
    train_sentencepiece,
    write_piece_bpe,
)


def facts_of(folder: Path) -> TokenizerFacts:
    return describe_tokenizer(open_tokenizer_folder(folder))


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder whose tokenizer.model and tokenizer.json say the same."""
    write_piece_bpe(tmp_path, train_sentencepiece(tmp_path, **IDENTITY))
    return tmp_path


def test_the_bundled_tokenizer_is_sentencepiece(tmp_path: Path) -> None:
    facts = facts_of(write_checkpoint(tmp_path, tokenizer=True))
    assert facts == TokenizerFacts(
        kind="sentencepiece",
        source="tokenizer.model",
        vocab_size=4096,
        pre_tokenizer=None,
        also_present=None,
        differs=None,
        has_chat_template=True,
        problem=None,
    )


def test_byte_level_bpe_is_named_with_its_pre_tokenizer(tmp_path: Path) -> None:
    train_byte_level_bpe(tmp_path, "qwen2")
    facts = facts_of(tmp_path)
    assert (facts.kind, facts.source) == ("byte-level BPE", "tokenizer.json")
    assert (facts.vocab_size, facts.pre_tokenizer, facts.problem) == (3000, "qwen2", None)


def test_of_two_files_tokenizer_json_is_used(both: Path) -> None:
    facts = facts_of(both)
    assert (facts.source, facts.also_present) == ("tokenizer.json", "tokenizer.model")
    assert (facts.kind, facts.differs) == ("BPE with byte fallback", None)


def test_a_second_file_with_other_tokens_is_reported(both: Path) -> None:
    train_sentencepiece(both, vocab_size=3000, **IDENTITY)
    assert str(facts_of(both).differs).startswith("token ")


def test_a_second_file_that_cannot_be_read_is_reported(both: Path) -> None:
    (both / "tokenizer.model").write_bytes(b"broken")
    facts = facts_of(both)
    assert facts.differs is not None
    assert "not a sentencepiece model" in facts.differs
    assert facts.problem is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"model_type": "unigram"}, "unigram"), ({"byte_fallback": False}, "byte fallback")],
)
def test_what_cannot_be_converted_is_reported_not_raised(
    settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    train_sentencepiece(tmp_path, **settings)
    facts = facts_of(tmp_path)
    assert facts.kind == "sentencepiece"
    assert facts.problem is not None
    assert said in facts.problem


def test_an_unknown_pre_tokenizer_is_shown_with_the_known_ones(tmp_path: Path) -> None:
    path = train_byte_level_bpe(tmp_path)
    document = json.loads(path.read_text())
    document["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\w+|\W+"}
    path.write_text(json.dumps(document))
    facts = facts_of(tmp_path)
    assert facts.problem is not None
    assert r"\\w+|\\W+" in facts.problem
    assert "llama-bpe" in facts.problem
    assert facts.vocab_size == 3000


def test_no_tokenizer_is_a_problem_too(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    assert (facts.kind, facts.source, facts.vocab_size) == ("none", "", 0)
    assert facts.problem is not None


def test_broken_settings_are_reported(both: Path) -> None:
    (both / "tokenizer_config.json").write_text('{"chat_template": 7}')
    assert "chat_template is 7" in str(facts_of(both).problem)
