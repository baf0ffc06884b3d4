"""Special tokens, chat templates and the size of converted vocabularies."""

import json
from pathlib import Path

import gguf
import pytest

from edgellm.converters.gguf.tokenizer_check import check_tokenizer
from edgellm.converters.gguf.vocabulary import (
    EOS_IDS_KEY,
    add_vocabulary,
    read_vocabulary,
    write_vocabulary_file,
)
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.families import read_spec
from edgellm.gguf_file import read_gguf
from edgellm.tokenizer.text_rules import METADATA_KEY
from tests.support.checkpoints import write_checkpoint
from tests.support.tokenizers import (
    open_tokenizer_folder,
    train_byte_level_bpe,
    train_sentencepiece,
    vocabulary_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a byte-level tokenizer; ids 0 to 2 are <|begin|>, <|stop|> and <|user|>."""
    train_byte_level_bpe(tmp_path)
    return tmp_path


def write_json(folder: Path, name: str, **values: object) -> None:
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | values), encoding="utf-8")


def test_every_end_token_is_kept_and_the_tokenizers_own_comes_first(folder: Path) -> None:
    write_json(folder, "generation_config.json", eos_token_id=[2, 1, 2])
    vocabulary = vocabulary_of(folder)
    assert (vocabulary.eos_id, vocabulary.eot_id, vocabulary.end_ids) == (1, 2, (2, 1))


def test_an_end_of_message_token_is_not_taken_for_the_end_of_a_turn(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    added = {**tokenizer["added_tokens"][0], "id": 3000, "content": "<|eom_id|>"}
    tokenizer["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    write_json(folder, "generation_config.json", eos_token_id=[1, 3000, 2])
    vocabulary = vocabulary_of(folder)
    assert (vocabulary.eos_id, vocabulary.eom_id, vocabulary.eot_id) == (1, 3000, 2)


def test_the_template_of_tokenizer_json_says_which_tokens_are_put_around(folder: Path) -> None:
    vocabulary = vocabulary_of(folder)
    assert (vocabulary.add_bos, vocabulary.bos_id, vocabulary.add_eos) == (True, 0, False)


def test_without_a_template_nothing_is_put_around(tmp_path: Path) -> None:
    train_byte_level_bpe(tmp_path, bos=False)
    vocabulary = vocabulary_of(tmp_path, bos_token_id=None)
    assert (vocabulary.add_bos, vocabulary.bos_id) == (False, None)


def test_special_tokens_are_named_in_special_tokens_map_too(tmp_path: Path) -> None:
    train_sentencepiece(tmp_path, control_symbols=["<|end|>"])
    write_json(tmp_path, "special_tokens_map.json", eos_token={"content": "<|end|>"})
    assert vocabulary_of(tmp_path).eos_id == 3


def test_a_tokenizer_smaller_than_the_embedding_is_padded(folder: Path) -> None:
    table = vocabulary_of(folder, vocab_size=3010).table
    assert len(table.tokens) == len(table.types) == 3010
    assert table.tokens[3009] == "[PAD3009]"


def test_a_tokenizer_larger_than_the_embedding_is_refused(folder: Path) -> None:
    with pytest.raises(FormatError, match="3000 tokens, the embedding rows for 2999"):
        vocabulary_of(folder, vocab_size=2999)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tokenizer"):
        vocabulary_of(tmp_path)


def test_a_tokenizer_without_end_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(FormatError, match="no token ends an answer"):
        vocabulary_of(folder, eos_token_id=None)


@pytest.mark.parametrize("written", ["{{ a }}\n", [{"name": "default", "template": "{{ a }}\n"}]])
def test_the_chat_template_is_kept_as_it_is(folder: Path, written: object) -> None:
    write_json(folder, "tokenizer_config.json", chat_template=written)
    assert vocabulary_of(folder).chat_template == "{{ a }}\n"


def test_named_templates_are_kept_beside_the_default(folder: Path, tmp_path: Path) -> None:
    names = ("tool_use", "default", "rag")
    templates = [{"name": name, "template": f"for {name}"} for name in names]
    write_json(folder, "tokenizer_config.json", chat_template=templates)
    path = tmp_path / "v.gguf"
    write_vocabulary_file(path, vocabulary_of(folder))
    metadata = read_gguf(path).metadata
    assert metadata["tokenizer.chat_template"] == "for default"
    assert metadata["tokenizer.chat_template.rag"] == "for rag"
    assert metadata["tokenizer.chat_templates"] == ("rag", "tool_use")


def test_chat_template_jinja_replaces_the_one_in_tokenizer_config(folder: Path) -> None:
    write_json(folder, "tokenizer_config.json", chat_template="old")
    (folder / "chat_template.jinja").write_text("new")
    assert vocabulary_of(folder).chat_template == "new"


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja"])
def test_a_huge_chat_template_is_refused(folder: Path, name: str) -> None:
    text = "x" * (257 << 10)
    if name == "chat_template.jinja":
        (folder / name).write_text(text)
    else:
        write_json(folder, name, chat_template=text)
    with pytest.raises(FormatError, match=f"{name}.*256"):
        vocabulary_of(folder)


def test_the_file_holds_every_end_token_as_uint32(folder: Path, tmp_path: Path) -> None:
    write_json(folder, "generation_config.json", eos_token_id=[1, 2])
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
    add_vocabulary(writer, vocabulary_of(folder))
    field = writer.kv_data[0][EOS_IDS_KEY]
    assert (field.value, field.sub_type) == ([1, 2], gguf.GGUFValueType.UINT32)


def test_rules_are_written_only_where_llama_cpp_needs_them(folder: Path, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "llama")
    add_vocabulary(writer, vocabulary_of(folder))
    assert METADATA_KEY not in writer.kv_data[0]


def test_the_check_accepts_what_was_converted(tmp_path: Path) -> None:
    checkpoint = open_tokenizer_folder(write_checkpoint(tmp_path, tokenizer=True))
    check_tokenizer(checkpoint, read_vocabulary(checkpoint, read_spec(checkpoint)))


def test_the_check_shows_the_line_that_differs(tmp_path: Path) -> None:
    train_sentencepiece(tmp_path / "other", vocab_size=3500)
    other = vocabulary_of(tmp_path / "other")
    train_sentencepiece(tmp_path, vocab_size=3400)
    with pytest.raises(UnsupportedError, match=r"llama\.cpp tokenizes .Hello, world!"):
        check_tokenizer(open_tokenizer_folder(tmp_path), other)
