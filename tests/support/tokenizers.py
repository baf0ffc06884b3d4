"""Tiny tokenizers of every kind, lines that are hard to tokenize, and llama.cpp's own ids."""

import ctypes
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llama_cpp
import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.converters.gguf.vocabulary import Vocabulary, read_vocabulary, write_vocabulary_file
from edgellm.families import read_spec
from edgellm.tokenizer.sentencepiece_model import PieceType, read_sentencepiece
from tests.support.awkward_text import awkward_lines
from tests.support.checkpoints import write_checkpoint
from tests.support.llama_cpp_reference import quiet_llama_cpp

VOCAB_SIZE = 4096
IDENTITY: dict[str, Any] = {
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}
_TINY_MODEL = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "tie_word_embeddings": True,
}
# Written out here, not imported: these are what published tokenizer.json files hold.
PATTERNS = {
    "llama3": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "qwen2": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}


def train_sentencepiece(
    folder: Path, lines: Sequence[str] | None = None, **settings: object
) -> Path:
    """Train a sentencepiece model on awkward lines: `folder`/tokenizer.model.

    settings: those of SentencePieceTrainer; BPE with byte fallback unless they say otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.txt"
    text = [line.replace("\n", " ").replace("\0", "") for line in lines or awkward_lines(2000, 7)]
    corpus.write_text("\n".join(text), encoding="utf-8")
    chosen: dict[str, Any] = {
        "model_type": "bpe",
        "byte_fallback": True,
        "vocab_size": 3600,
        "hard_vocab_limit": False,
        "minloglevel": 2,
        **settings,
    }
    prefix = str(folder / "tokenizer")
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=prefix, **chosen)
    corpus.unlink()
    return folder / "tokenizer.model"


def train_byte_level_bpe(
    folder: Path,
    pre: str = "llama3",
    *,
    ignore_merges: bool | None = None,
    normalizer: normalizers.Normalizer | None = None,
    added: Sequence[AddedToken] = (),
    prefix_space: bool = False,
    bos: bool = True,
) -> Path:
    """Train byte-level BPE on awkward lines: `folder`/tokenizer.json.

    pre: "llama3", "qwen2", "gpt2" or "smollm". Ids 0 to 2 are <|begin|>, <|stop|> and <|user|>.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ignore = pre == "llama3" if ignore_merges is None else ignore_merges
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore))
    tokenizer.pre_tokenizer = _byte_level(pre, prefix_space)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<|begin|>", "<|stop|>", "<|user|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(awkward_lines(2000, 7), trainer)
    tokenizer.add_tokens(list(added))
    if bos:
        tokenizer.post_processor = _begin_with("<|begin|>", 0)
    return save_tokenizer(folder, tokenizer, eos="<|stop|>")


def _byte_level(pre: str, prefix_space: bool) -> pre_tokenizers.PreTokenizer:
    if pre == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=True)
    if pre == "smollm":
        first = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([first, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    split = pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated")
    translate = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, translate])


MergeEdit = Callable[[list[tuple[str, str]]], list[tuple[str, str]]]


def write_piece_bpe(
    folder: Path,
    model: Path,
    *,
    scheme: str = "prepend",
    edit: MergeEdit = list,
    normalized: bool = False,
) -> Path:
    """Write a sentencepiece model as transformers does without it: `folder`/tokenizer.json.

    scheme: "prepend" or "none" for normalizers; "first", "always" or "never" for Metaspace.
    edit: what to do to the merges. normalized: the flag of the special tokens.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = _pieces(model)
    bpe = models.BPE(vocab, edit(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    if scheme in ("prepend", "none"):
        prepend = [normalizers.Prepend("\u2581")] if scheme == "prepend" else []
        steps = [*prepend, normalizers.Replace(" ", "\u2581")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    special = [t for t in ("<unk>", "<s>", "</s>", "<|user|>") if t in vocab]
    tokenizer.add_special_tokens([AddedToken(t, normalized=normalized) for t in special])
    tokenizer.post_processor = _begin_with("<s>", vocab["<s>"])
    return save_tokenizer(folder, tokenizer, eos="</s>")


def _pieces(model: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids by piece, and every split of every piece as a merge, in the order of the scores."""
    pieces = read_sentencepiece(model).pieces
    vocab = {piece.text: i for i, piece in enumerate(pieces)}
    merges: list[tuple[str, str]] = []
    for piece in sorted(pieces, key=lambda piece: -piece.score):
        if piece.type is PieceType.NORMAL:
            pairs = [(piece.text[:i], piece.text[i:]) for i in range(1, len(piece.text))]
            known = [pair for pair in pairs if pair[0] in vocab and pair[1] in vocab]
            merges += sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return vocab, merges


def _begin_with(text: str, token_id: int) -> processors.PostProcessor:
    return processors.TemplateProcessing(single=f"{text} $A", special_tokens=[(text, token_id)])


def save_tokenizer(folder: Path, tokenizer: Tokenizer, eos: str) -> Path:
    """Write tokenizer.json and the tokenizer_config.json that names the end token."""
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    config = {"eos_token": eos, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def open_tokenizer_folder(folder: Path, **config: object) -> Checkpoint:
    """Put the smallest model beside a tokenizer and open the folder as a checkpoint."""
    return open_checkpoint(write_checkpoint(folder, **{**_TINY_MODEL, **config}))  # type: ignore[arg-type]


def vocabulary_of(folder: Path, **config: object) -> Vocabulary:
    """The vocabulary of a folder that holds a tokenizer."""
    checkpoint = open_tokenizer_folder(folder, **config)
    return read_vocabulary(checkpoint, read_spec(checkpoint))


LlamaTokenize = Callable[..., list[int]]


@contextmanager
def llama_tokenizer(folder: Path, vocabulary: Vocabulary) -> Iterator[LlamaTokenize]:
    """llama.cpp's tokenizer for a vocabulary written as GGUF, with the vocabulary's rules.

    Called with a text, `parse_special` and optionally `alone=True`, which leaves the rules out.
    """
    path = folder / "vocabulary.gguf"
    write_vocabulary_file(path, vocabulary)
    with quiet_llama_cpp(), _loaded(path) as plain, _loaded(path, no_prefix=True) as without_prefix:

        def tokenize(text: str, parse_special: bool = False, alone: bool = False) -> list[int]:
            rules = vocabulary.table.rules
            if rules is None or alone:
                return plain(text, parse_special)
            return rules.token_ids(text, parse_special, lambda part: without_prefix(part, False))

        yield tokenize


@contextmanager
def _loaded(path: Path, *, no_prefix: bool = False) -> Iterator[Callable[[str, bool], list[int]]]:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    overrides = (llama_cpp.llama_model_kv_override * 2)()
    overrides[0].key = b"tokenizer.ggml.add_space_prefix"
    overrides[0].tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_BOOL
    if no_prefix:
        params.kv_overrides = overrides
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"llama.cpp does not load {path}"
    vocab = llama_cpp.llama_model_get_vocab(model)

    def tokenize(text: str, parse_special: bool) -> list[int]:
        raw = text.encode()
        ids = (ctypes.c_int32 * (len(raw) + 8))()
        count = llama_cpp.llama_tokenize(vocab, raw, len(raw), ids, len(ids), False, parse_special)
        assert count >= 0
        return list(ids[:count])

    try:
        yield tokenize
    finally:
        llama_cpp.llama_model_free(model)
