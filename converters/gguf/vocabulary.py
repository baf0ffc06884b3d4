"""The vocabulary of a checkpoint as GGUF metadata."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf

from edgellm.checkpoint import Checkpoint
from edgellm.converters.gguf.byte_level_table import byte_level_table
from edgellm.converters.gguf.piece_table import piece_table
from edgellm.converters.gguf.sentencepiece_table import sentencepiece_table
from edgellm.converters.gguf.token_table import TokenTable, check_tokens, padded
from edgellm.errors import FormatError, InputError
from edgellm.spec import ModelSpec
from edgellm.tokenizer.facts import used_tokenizer
from edgellm.tokenizer.settings import TokenizerSettings, read_tokenizer_settings
from edgellm.tokenizer.text_rules import METADATA_KEY
from edgellm.tokenizer.tokenizer_json import read_tokenizer_json

EOS_IDS_KEY = "edgellm.eos_token_ids"
_END_OF_MESSAGE = ("<|eom_id|>",)  # ends a message, not the turn


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything a GGUF says about tokens; one token per row of the embedding."""

    table: TokenTable
    bos_id: int | None
    eos_id: int
    eot_id: int | None  # ends a turn, where that is not eos
    eom_id: int | None
    unk_id: int | None
    pad_id: int | None
    end_ids: tuple[int, ...]  # every token that ends an answer
    add_bos: bool
    add_eos: bool
    chat_template: str | None
    named_templates: Mapping[str, str]


def read_vocabulary(checkpoint: Checkpoint, spec: ModelSpec) -> Vocabulary:
    """Read the tokenizer of a checkpoint.

    Raises FormatError for broken or contradictory files, UnsupportedError for a tokenizer that
    llama.cpp cannot run exactly.
    """
    settings = read_tokenizer_settings(checkpoint.tokenizer)
    table = _read_table(checkpoint, spec, settings)
    _check_rows(checkpoint, len(table.tokens), spec)
    table = padded(table, spec.vocab_size)
    check_tokens(table, checkpoint.folder)
    return _with_special_ids(checkpoint, settings, table)


def _check_rows(checkpoint: Checkpoint, tokens: int, spec: ModelSpec) -> None:
    if tokens > spec.vocab_size:
        raise FormatError(
            checkpoint.folder,
            f"the tokenizer has {tokens} tokens, the embedding rows for {spec.vocab_size}; "
            "expected no more tokens than rows",
        )


def _read_table(checkpoint: Checkpoint, spec: ModelSpec, settings: TokenizerSettings) -> TokenTable:
    """The table of the file that is used, no longer than the embedding."""
    files = checkpoint.tokenizer
    path = used_tokenizer(files)
    if path is None:
        raise InputError(
            f"{checkpoint.folder}: no tokenizer; expected tokenizer.json or tokenizer.model"
        )
    if path == files.tokenizer_model:
        _check_rows(checkpoint, max((token.id for token in settings.added), default=0) + 1, spec)
        return sentencepiece_table(path, settings.added)
    tokenizer = read_tokenizer_json(path)
    _check_rows(checkpoint, max(tokenizer.tokens()) + 1, spec)
    return byte_level_table(tokenizer) if tokenizer.is_byte_level else piece_table(tokenizer)


def _with_special_ids(
    checkpoint: Checkpoint, settings: TokenizerSettings, table: TokenTable
) -> Vocabulary:
    ids = {text: token_id for token_id, text in enumerate(table.tokens)}
    named = {name: ids[text] for name, text in settings.special.items() if text in ids}
    generation = checkpoint.generation_config
    written_ends = _in_range(checkpoint, generation.eos_token_ids, len(table.tokens))
    bos_ids = () if generation.bos_token_id is None else (generation.bos_token_id,)
    written_bos = _in_range(checkpoint, bos_ids, len(table.tokens))
    eos = _first(named.get("eos_token"), table.eos_id, *written_ends)
    if eos is None:
        raise FormatError(
            checkpoint.folder,
            "no token ends an answer; expected eos_token in tokenizer_config.json or "
            "eos_token_id in generation_config.json",
        )
    bos = _first(named.get("bos_token"), table.bos_id, *written_bos)
    ends = written_ends or (eos,)
    eom = next((i for i in ends if table.tokens[i] in _END_OF_MESSAGE), None)
    return Vocabulary(
        table=table,
        bos_id=bos,
        eos_id=eos,
        eot_id=next((i for i in ends if i not in (eos, eom)), None),
        eom_id=eom,
        unk_id=_first(named.get("unk_token"), table.unk_id),
        pad_id=_first(named.get("pad_token"), table.pad_id),
        end_ids=ends,
        add_bos=_flag(settings.add_bos, table.add_bos) and bos is not None,
        add_eos=_flag(settings.add_eos, table.add_eos),
        chat_template=settings.chat_template,
        named_templates=settings.named_templates,
    )


def _in_range(checkpoint: Checkpoint, ids: Iterable[int], count: int) -> tuple[int, ...]:
    """The ids, each once. Raises FormatError for one that is not a token."""
    for token_id in ids:
        if token_id >= count:
            raise FormatError(
                checkpoint.folder, f"token id {token_id} is outside the vocabulary of {count}"
            )
    return tuple(dict.fromkeys(ids))


def _first(*ids: int | None) -> int | None:
    return next((token_id for token_id in ids if token_id is not None), None)


def _flag(*values: bool | None) -> bool:
    return next((value for value in values if value is not None), False)


def write_vocabulary_file(path: Path, vocabulary: Vocabulary) -> None:
    """Write a GGUF that holds the vocabulary alone; llama.cpp loads it with `vocab_only`."""
    writer = gguf.GGUFWriter(path, "llama")
    add_vocabulary(writer, vocabulary)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def add_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    """Add the tokens and everything that belongs to them; keys in a fixed order."""
    table = vocabulary.table
    writer.add_tokenizer_model(table.model)
    if table.pre is not None:
        writer.add_tokenizer_pre(table.pre)
    writer.add_token_list(table.tokens)
    writer.add_token_types([int(kind) for kind in table.types])
    if table.scores:
        writer.add_token_scores(table.scores)
    if table.merges:
        writer.add_token_merges(table.merges)
    _add_special_ids(writer, vocabulary)
    writer.add_add_space_prefix(table.add_space_prefix)
    if table.rules is not None:
        writer.add_string(METADATA_KEY, table.rules.to_json())
    _add_templates(writer, vocabulary)


def _add_special_ids(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_eos_token_id(vocabulary.eos_id)
    for token_id, add in (
        (vocabulary.bos_id, writer.add_bos_token_id),
        (vocabulary.eot_id, writer.add_eot_token_id),
        (vocabulary.eom_id, writer.add_eom_token_id),
        (vocabulary.unk_id, writer.add_unk_token_id),
        (vocabulary.pad_id, writer.add_pad_token_id),
    ):
        if token_id is not None:
            add(token_id)
    writer.add_add_bos_token(vocabulary.add_bos)
    writer.add_add_eos_token(vocabulary.add_eos)
    # gguf-py would choose int32 for an array of ints.
    writer.add_key_value(
        EOS_IDS_KEY,
        list(vocabulary.end_ids),
        gguf.GGUFValueType.ARRAY,
        sub_type=gguf.GGUFValueType.UINT32,
    )


def _add_templates(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    # Not gguf-py's add_chat_template: it orders named templates by hash, which changes every run.
    if vocabulary.chat_template is not None:
        writer.add_string(gguf.Keys.Tokenizer.CHAT_TEMPLATE, vocabulary.chat_template)
    for name, text in sorted(vocabulary.named_templates.items()):
        writer.add_string(gguf.Keys.Tokenizer.CHAT_TEMPLATE_N.format(name=name), text)
    if vocabulary.named_templates:
        writer.add_array(gguf.Keys.Tokenizer.CHAT_TEMPLATES, sorted(vocabulary.named_templates))
