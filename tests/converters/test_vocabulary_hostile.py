"""Broken and hostile tokenizers: one line, the right error, fast."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgellm.errors import FormatError, InputError, UnsupportedError
from tests.support.tokenizers import (
    IDENTITY,
    train_byte_level_bpe,
    train_sentencepiece,
    vocabulary_of,
)

Document = dict[str, Any]
CATASTROPHE = r"(a+)+$"


def bpe(document: Document, **values: object) -> Document:
    return {**document, "model": {**document["model"], **values}}


def with_added(document: Document, **token: object) -> Document:
    first = {**document["added_tokens"][0], **token}
    return {**document, "added_tokens": [*document["added_tokens"], first]}


def split_by(regex: str) -> Document:
    pattern = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated"}
    return {
        "type": "Sequence",
        "pretokenizers": [pattern, {"type": "ByteLevel", "use_regex": False}],
    }


def nested(depth: int) -> Document:
    step: Document = {"type": "NFC"}
    for _ in range(depth):
        step = {"type": "Sequence", "normalizers": [step]}
    return step


# What is done to a good tokenizer.json, the error, and what its text has to say.
BROKEN: dict[str, tuple[Callable[[Document], Document], type[InputError], str]] = {
    "no model": (lambda d: {**d, "model": None}, FormatError, "model is None"),
    "unigram": (lambda d: bpe(d, type="Unigram"), UnsupportedError, "'Unigram'.*supported: BPE"),
    "word piece": (lambda d: bpe(d, type="WordPiece"), UnsupportedError, "'WordPiece'"),
    "dropout": (lambda d: bpe(d, dropout=0.1), UnsupportedError, "dropout"),
    "suffix": (lambda d: bpe(d, end_of_word_suffix="</w>"), UnsupportedError, "end_of_word_suffix"),
    "no vocabulary": (lambda d: bpe(d, vocab={}), FormatError, "vocab"),
    "vocabulary as list": (lambda d: bpe(d, vocab=[["a", 0]]), FormatError, "vocab"),
    "id as text": (lambda d: bpe(d, vocab={"a": "0"}), FormatError, "expected an id"),
    "huge id": (lambda d: bpe(d, vocab={"a": 2**40}), FormatError, "expected an id"),
    "negative id": (lambda d: bpe(d, vocab={"a": -1}), FormatError, "expected an id"),
    "two tokens of one id": (lambda d: bpe(d, vocab={"a": 0, "b": 0}), FormatError, "id 0"),
    "merges as text": (lambda d: bpe(d, merges="a b"), FormatError, "merges"),
    "merge of three": (lambda d: bpe(d, merges=["a b c"]), FormatError, "merge 0"),
    "merge of nothing known": (lambda d: bpe(d, merges=[["<|", "q"]]), FormatError, "merge 0"),
    "no merges": (lambda d: bpe(d, merges=[]), UnsupportedError, "without merges"),
    "bytes missing": (
        lambda d: {
            **bpe(d, merges=[["a", "n"]], vocab={"a": 3, "n": 4, "an": 5}),
        },
        UnsupportedError,
        "no token for 254 of the 256 bytes",
    ),
    "token with half a surrogate": (
        lambda d: with_added(d, id=3000, content="\ud800"),
        FormatError,
        "half a surrogate",
    ),
    "token with NUL": (lambda d: with_added(d, id=3000, content="a\0"), FormatError, "NUL"),
    "long token": (lambda d: with_added(d, id=3000, content="a" * 9999), FormatError, "1024"),
    "token without text": (lambda d: with_added(d, id=3000, content=""), FormatError, "content"),
    "added id taken": (lambda d: with_added(d, id=5, content="<x>"), FormatError, "id 5"),
    "added text taken": (lambda d: with_added(d, id=3000, content="<|stop|>"), FormatError, "3000"),
    "added id of 2^31": (lambda d: with_added(d, id=2**31, content="<x>"), FormatError, "id"),
    "added id beyond rows": (lambda d: with_added(d, id=2**20, content="<x>"), FormatError, "rows"),
    "catastrophic expression": (
        lambda d: {**d, "pre_tokenizer": split_by(CATASTROPHE)},
        UnsupportedError,
        r"\(a\+\)\+\$.*supported: llama-bpe",
    ),
    "unknown step": (
        lambda d: {**d, "pre_tokenizer": {"type": "ByteLevel", "use_regex": False}},
        UnsupportedError,
        "pre-tokenizer",
    ),
    "lower case": (
        lambda d: {**d, "normalizer": {"type": "Lowercase"}},
        UnsupportedError,
        "Lowercase.*supported: NFC",
    ),
    "deep normalizer": (lambda d: {**d, "normalizer": nested(100)}, FormatError, "too deeply"),
    "two tokens in front": (
        lambda d: {
            **d,
            "post_processor": {
                **d["post_processor"],
                "single": [d["post_processor"]["single"][0]] * 2 + d["post_processor"]["single"],
            },
        },
        UnsupportedError,
        "one token before",
    ),
    "BERT post-processor": (
        lambda d: {**d, "post_processor": {"type": "BertProcessing"}},
        UnsupportedError,
        "BertProcessing",
    ),
    "merges not ignored by gpt2": (
        lambda d: {**d, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}},
        UnsupportedError,
        "ignore_merges=True with gpt-2",
    ),
}


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Document:
    path = train_byte_level_bpe(tmp_path_factory.mktemp("good"))
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def refusal(folder: Path, error: type[InputError]) -> str:
    with pytest.raises(error) as caught:
        vocabulary_of(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tokenizer_json_is_refused(name: str, good: Document, tmp_path: Path) -> None:
    damage, error, said = BROKEN[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(damage(good)), encoding="utf-8")
    text = refusal(tmp_path, error)
    assert str(tmp_path) in text
    assert re.search(said, text), text


RAW: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "not an object": (b"[]", "expected a JSON object"),
    "not UTF-8": (b'{"model": "\xff"}', "not UTF-8"),
    "key twice": (b'{"model": 1, "model": 2}', "appears twice"),
    "deep nesting": (b'{"a":' * 100_000, "nested too deeply|not JSON"),
    "many values": (b'{"a":[' + b"1," * 2_100_000 + b"1]}", "more than 2000000 JSON values"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_file_that_is_no_tokenizer_json_is_refused(name: str, tmp_path: Path) -> None:
    raw, said = RAW[name]
    (tmp_path / "tokenizer.json").write_bytes(raw)
    assert re.search(said, refusal(tmp_path, FormatError))


def test_a_tokenizer_json_of_100_mb_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(100 << 20)
    assert "at most 64.00 MiB" in refusal(tmp_path, FormatError)


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


MODEL_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it has no pieces"),
    "text": (b"this is not a model", "not a sentencepiece model"),
    "length beyond the end": (b"\x0a\xff\xff\xff\xff\x0f", "a field of 4294967295 bytes"),
    "endless number": (b"\x0a" + b"\xff" * 20, "longer than 64 bits"),
    "groups": (b"\x0b\x0c", "wire type 3"),
    "piece that is no text": (message(1, message(1, b"\xff\xfe")), "utf-8"),
    "piece of unknown type": (message(1, b"\x18\x63"), "99 is not a valid PieceType"),
    "score that is no number": (message(1, b"\x15\x00\x00\xc0\x7f"), "score"),
    "score as text": (message(1, message(2, b"12")), "a 32-bit number of 2 bytes"),
    "million pieces": (message(1, b"") * 1_000_000, "more than 524288 pieces"),
}


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_file_that_is_no_tokenizer_model_is_refused(name: str, tmp_path: Path) -> None:
    raw, said = MODEL_FILES[name]
    (tmp_path / "tokenizer.model").write_bytes(raw)
    assert re.search(said, refusal(tmp_path, FormatError))


@pytest.mark.parametrize("kept", [1, 100, 5_000, 20_000])
def test_a_truncated_tokenizer_model_is_refused(kept: int, tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path, **IDENTITY)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError):
        vocabulary_of(tmp_path)


def test_byte_pieces_have_to_name_bytes(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path, **IDENTITY)
    path.write_bytes(path.read_bytes().replace(b"<0x41>", b"<0x-1>"))
    assert "expected <0x00> to <0xFF>" in refusal(tmp_path, FormatError)


def test_two_pieces_of_one_text_are_refused(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path, control_symbols=["<|aa|>", "<|bb|>"], **IDENTITY)
    path.write_bytes(path.read_bytes().replace(b"<|bb|>", b"<|aa|>"))
    assert "has the same text as token 3" in refusal(tmp_path, FormatError)


def test_broken_normalization_rules_are_refused(tmp_path: Path) -> None:
    path = train_sentencepiece(tmp_path)
    raw = path.read_bytes()
    rules = raw.index(b"nmt_nfkc")
    path.write_bytes(raw[: rules + 40] + b"\xff" * 4000 + raw[rules + 4040 :])
    with pytest.raises(InputError):
        vocabulary_of(tmp_path)


SETTINGS: dict[str, tuple[Document, str]] = {
    "token as number": ({"eos_token": 5}, "eos_token is 5; expected a string"),
    "flag as text": ({"add_bos_token": "yes"}, "add_bos_token"),
    "template as number": ({"chat_template": 7}, "chat_template is 7"),
    "template without name": ({"chat_template": [{"template": "x"}]}, "chat_template"),
    "template with half a surrogate": ({"chat_template": "\ud800"}, "half a surrogate"),
    "added token under a name": ({"added_tokens_decoder": {"x": {"content": "a"}}}, "under its id"),
    "added token as text": ({"added_tokens_decoder": {"7": "a"}}, "added_tokens_decoder.7"),
    "added token beyond rows": (
        {"added_tokens_decoder": {"999999": {"content": "a"}}},
        "1000000 tokens, the embedding rows for 4096",
    ),
    "added token in a piece's place": (
        {"added_tokens_decoder": {"300": {"content": "<x>"}}},
        "in the added tokens",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_contradictory_settings_are_refused(name: str, tmp_path: Path) -> None:
    values, said = SETTINGS[name]
    train_sentencepiece(tmp_path, **IDENTITY)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    assert said in refusal(tmp_path, FormatError)
