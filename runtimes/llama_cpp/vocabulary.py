"""Text to tokens and back with the model's own vocabulary."""

import ctypes
from functools import cached_property
from pathlib import Path

from edgellm.errors import InputError, UnsupportedError
from edgellm.gguf_file import GGUFFile
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.tokenizer.text_rules import SpacePrefix, TextRules

NO_TOKEN = -1  # LLAMA_TOKEN_NULL
_EOS_IDS = "edgellm.eos_token_ids"
_BOS_ID = "tokenizer.ggml.bos_token_id"
_SENTENCEPIECE, _BYTE_PAIRS = 1, 2  # LLAMA_VOCAB_TYPE_*
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 8, 16, 32  # LLAMA_TOKEN_ATTR_*
_MAX_TEXT_BYTES = 1 << 30


class Vocabulary:
    """Reads the vocabulary of a loaded model; valid while that model is."""

    def __init__(self, model: llama.llama_model_p, file: GGUFFile, rules: TextRules | None) -> None:
        """rules: what the file says of text, for a model that was loaded with them."""
        vocab = llama.llama_model_get_vocab(model)
        assert vocab is not None
        self._vocab = vocab
        self.n_tokens: int = llama.llama_vocab_n_tokens(vocab)
        self._rules = rules
        self._end_ids = _end_ids(file)
        self._adds_bos: bool = llama.llama_vocab_get_add_bos(vocab)
        # llama.cpp invents a BOS where the file names none.
        self.bos: int | None = (
            _id_or_none(llama.llama_vocab_bos(vocab)) if _BOS_ID in file.metadata else None
        )
        self.eos: int | None = _id_or_none(llama.llama_vocab_eos(vocab))
        self._drops_first_space = (
            rules.space_prefix is SpacePrefix.EACH
            if rules is not None
            else llama.llama_vocab_type(vocab) == _SENTENCEPIECE
            and file.metadata.get("tokenizer.ggml.add_space_prefix", True) is True
        )
        self._buffer = ctypes.create_string_buffer(256)
        self._pieces: dict[tuple[str, ...], Pieces] = {}
        self._check_bytes(file.path)

    def text(self, token: int | None) -> str:
        """How the vocabulary writes a special token; empty when there is none."""
        if token is None:
            return ""
        raw: bytes = llama.llama_vocab_get_text(self._vocab, token)
        return raw.decode("utf-8", "replace")

    def tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        """Token ids without a BOS. parse_special: whether "<|end|>" in the text means the token."""
        raw = encoded(text)
        if self._rules is None:
            return self._tokenize(raw, parse_special)
        return self._rules.token_ids(
            text, parse_special, lambda part: self._tokenize(part.encode(), False)
        )

    @property
    def begin(self) -> int | None:
        """The BOS of a model that wants one in front of its text."""
        return self.bos if self._adds_bos else None

    def prompt_tokens(self, text: str) -> list[int]:
        """Token ids of a whole prompt: exactly one BOS in front where the model wants one."""
        tokens = self.tokenize(text, parse_special=True)
        if self.begin is not None and tokens[:1] != [self.begin]:
            return [self.begin, *tokens]
        return tokens

    def embedding_tokens(self, text: str) -> list[int]:
        """Token ids of plain text, between the BOS and the EOS that the model wants."""
        begin = [] if self.begin is None else [self.begin]
        wants_end = self.eos is not None and llama.llama_vocab_get_add_eos(self._vocab)
        return [
            *begin,
            *self.tokenize(text, parse_special=False),
            *([self.eos] if wants_end and self.eos is not None else []),
        ]

    def continuation(self, text: str) -> list[int] | None:
        """Token ids of text that goes on from other text.

        None where the tokens would be others, or say other text, than without the cut.
        """
        tokens = self.tokenize(text, parse_special=True)
        if not tokens or self._is_special(tokens[0]):
            return tokens
        kind = llama.llama_vocab_type(self._vocab)
        if self._rules is not None or not text[0].isspace():
            return None
        if kind == _BYTE_PAIRS:
            return tokens
        if kind != _SENTENCEPIECE or text[0] != " ":
            return None
        if not self._drops_first_space:
            return tokens
        # llama.cpp puts a space before the text; it takes the place of this one.
        tokens = self.tokenize(text[1:], parse_special=True)
        return None if not tokens or self._is_special(tokens[0]) else tokens

    def is_end(self, token: int) -> bool:
        """Whether an answer ends with it; NO_TOKEN is one too."""
        return token < 0 or token in self._end_ids or llama.llama_vocab_is_eog(self._vocab, token)

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes a token stands for; control tokens are empty unless `special`."""
        length = self._piece(token, special)
        if length < 0:
            self._buffer = ctypes.create_string_buffer(-length)
            length = self._piece(token, special)
        return self._buffer.raw[:length]

    def pieces(self, shown: tuple[str, ...] = ()) -> "Pieces":
        """What the tokens of an answer show; `shown` names control tokens that are text in it."""
        if shown not in self._pieces:
            ids = {ids[0] for text in shown if len(ids := self.tokenize(text, parse_special=True))}
            self._pieces[shown] = Pieces(self, frozenset(ids))
        return self._pieces[shown]

    def unseen(self, shown: tuple[str, ...] = ()) -> frozenset[int]:
        """Tokens that show nothing, without those that end an answer to llama.cpp itself."""
        return self._silent - self._engine_ends - self.pieces(shown).shown

    @property
    def handle(self) -> llama.llama_vocab_p:
        return self._vocab

    @property
    def engine_end(self) -> int | None:
        """A token that ends an answer to llama.cpp itself; None where there is none."""
        return min(self._engine_ends, default=None)

    @cached_property
    def _silent(self) -> frozenset[int]:
        attribute, silent = llama.llama_vocab_get_attr, _UNKNOWN | _CONTROL
        found = {t for t in range(self.n_tokens) if attribute(self._vocab, t) & silent}
        return self._end_ids | found

    @cached_property
    def _engine_ends(self) -> frozenset[int]:
        # llama.cpp makes control tokens of all that it lets end an answer.
        return frozenset(t for t in self._silent if llama.llama_vocab_is_eog(self._vocab, t))

    def begins_text(self, last_prompt_token: int) -> bool:
        """Whether an answer's leading space is sentencepiece's own and not to be shown."""
        return self._drops_first_space and llama.llama_vocab_is_control(
            self._vocab, last_prompt_token
        )

    def _is_special(self, token: int) -> bool:
        """Whether the token stands for itself in text, which it cuts in two."""
        return bool(llama.llama_vocab_get_attr(self._vocab, token) & (_CONTROL | _USER_DEFINED))

    def _piece(self, token: int, special: bool) -> int:
        length: int = llama.llama_token_to_piece(
            self._vocab, token, self._buffer, len(self._buffer), 0, special
        )
        return length

    def _tokenize(self, raw: bytes, parse_special: bool) -> list[int]:
        tokens = (llama.llama_token * (len(raw) + 8))()
        count = llama.llama_tokenize(
            self._vocab, raw, len(raw), tokens, len(tokens), False, parse_special
        )
        if count < 0:
            tokens = (llama.llama_token * -count)()
            count = llama.llama_tokenize(
                self._vocab, raw, len(raw), tokens, len(tokens), False, parse_special
            )
        ids: list[int] = tokens[:count]
        return ids

    def _check_bytes(self, path: Path) -> None:
        """llama.cpp ends the process over a character that sentencepiece tokens cannot spell."""
        if llama.llama_vocab_type(self._vocab) != _SENTENCEPIECE:
            return
        found = 0
        for token in range(self.n_tokens):
            found += bool(llama.llama_vocab_get_attr(self._vocab, token) & _BYTE)
            if found == 256:
                return
        raise UnsupportedError(
            f"{path}: a sentencepiece vocabulary with {found} byte tokens", ["all 256 of them"]
        )


def encoded(text: str) -> bytes:
    """The bytes of a prompt. Raises InputError for text that is none, or too long."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise InputError("the prompt is not valid Unicode: it has half a surrogate") from None
    if len(raw) > _MAX_TEXT_BYTES:
        raise InputError(f"the prompt has {len(raw)} bytes; at most {_MAX_TEXT_BYTES}")
    return raw


class Pieces(dict[int, bytes | None]):
    """The bytes of a token as they are shown, None for one that ends an answer; each asked once."""

    def __init__(self, vocabulary: Vocabulary, shown: frozenset[int]) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self.shown = shown

    def __missing__(self, token: int) -> bytes | None:
        ends = self._vocabulary.is_end(token)
        piece = None if ends else self._vocabulary.piece(token, special=token in self.shown)
        self[token] = piece
        return piece


def _end_ids(file: GGUFFile) -> frozenset[int]:
    ids = file.metadata.get(_EOS_IDS, ())
    if not isinstance(ids, tuple):
        raise UnsupportedError(f"{file.path}: {_EOS_IDS} with so many ids", ["a few ids"])
    return frozenset(token for token in ids if isinstance(token, int))


def _id_or_none(token: int) -> int | None:
    return None if token == llama.LLAMA_TOKEN_NULL else token
