"""Compare llama.cpp's token ids with those of the checkpoint's own tokenizer library."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from edgellm.checkpoint import Checkpoint
from edgellm.converters.bindings import llama, log_to
from edgellm.converters.gguf.vocabulary import Vocabulary, write_vocabulary_file
from edgellm.errors import FormatError, RuntimeFailure, UnsupportedError
from edgellm.interrupts import interrupts_held
from edgellm.json_file import show
from edgellm.tokenizer.facts import used_tokenizer
from edgellm.tokenizer.text_rules import TextRules

_SPACE_PREFIX = b"tokenizer.ggml.add_space_prefix"
_SAMPLED_LINES = 48
_TOKENS_PER_LINE = 12
_ADDED_TOKENS = 64

_LINES = (
    "Hello, world! It's 2024; we'll pay $1,234.56 (or 78%) by 09:30.",
    " leading",
    "trailing ",
    "  two  spaces   three\t tab\t\ttabs \n\n newlines\r\n",
    "def f(x):\n    return {'a': [x ** 2, -1e-9]}  # comment\n\n\n",
    "DON'T, don't, we'VE I'LL \u2019s",
    "https://example.org/p?q=1&r=%20#x user_name@example.org",
    "na\u00efve caf\u00e9 \u0153uvre \u00df \u0141\u00f3d\u017a cafe\u0301 n\u0303",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u05e9\u05dc\u05d5\u05dd",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u3053\u3093\u306b\u3061\u306f",
    "\uc548\ub155\ud558\uc138\uc694 \u0645\u0631\u062d\u0628\u0627",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \U0001f1eb\U0001f1f7",
    "\x00\x01\x1f\x7f\x85\u00a0\u200b\u2028\u3000\ufeff\ufffd",
    "\u2581a\u2581 \u2581\u2581 \u0120\u010a",
    "1234567890 \u0663\u0664 \u00bd\u00b2 \u2167 \uff11",
    "a" * 100 + "=" * 40 + " " * 40 + "\n" * 9,
)

Tokenize = Callable[[str, bool], list[int]]


def check_tokenizer(checkpoint: Checkpoint, vocabulary: Vocabulary) -> None:
    """Tokenize some lines with llama.cpp and with the checkpoint's own library.

    The lines: many scripts, spaces and code, added tokens in text, and text made of tokens from
    the whole vocabulary. Raises UnsupportedError for the first line that differs.
    """
    path = used_tokenizer(checkpoint.tokenizer)
    assert path is not None, "a vocabulary was read from it"
    is_model = path == checkpoint.tokenizer.tokenizer_model
    reference = _sentencepiece(path) if is_model else _tokenizers(path)
    with log_to(lambda level, text: None), _llama_cpp(vocabulary) as ours:
        for line in _probes(vocabulary):
            _compare(path, line, ours, reference, parse_special=False)
            if not is_model:  # sentencepiece never takes text for a control token
                _compare(path, line, ours, reference, parse_special=True)


def _compare(
    path: Path, line: str, ours: Tokenize, reference: Tokenize, *, parse_special: bool
) -> None:
    got, expected = ours(line, parse_special), reference(line, parse_special)
    if got != expected:
        first = next(
            (i for i, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]),
            min(len(got), len(expected)),
        )
        raise UnsupportedError(
            f"{path}: llama.cpp tokenizes {show(line)} as {got[first : first + 3]} from token "
            f"{first} on, the checkpoint's own library as {expected[first : first + 3]}"
        )


def _probes(vocabulary: Vocabulary) -> Iterator[str]:
    yield from _LINES
    tokens = vocabulary.table.tokens
    stride = max(1, len(tokens) // (_SAMPLED_LINES * _TOKENS_PER_LINE))
    sampled = tokens[::stride]
    for start in range(0, len(sampled), _TOKENS_PER_LINE):
        yield "".join(sampled[start : start + _TOKENS_PER_LINE]).replace("\u2581", " ")
    rules = vocabulary.table.rules
    for token in rules.added_tokens[:_ADDED_TOKENS] if rules else ():
        yield f"a {token.text} b{token.text}"


def _sentencepiece(path: Path) -> Tokenize:
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise FormatError(path, f"sentencepiece cannot load it: {error}") from error

    def tokenize(text: str, parse_special: bool) -> list[int]:
        ids: list[int] = processor.encode(text)
        return ids

    return tokenize


def _tokenizers(path: Path) -> Tokenize:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise FormatError(path, f"the tokenizers library cannot load it: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokenize(text: str, parse_special: bool) -> list[int]:
        tokenizer.encode_special_tokens = not parse_special
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    return tokenize


@contextmanager
def _llama_cpp(vocabulary: Vocabulary) -> Iterator[Tokenize]:
    """llama.cpp's tokenizer for a vocabulary, with the vocabulary's rules."""
    rules = vocabulary.table.rules
    with TemporaryDirectory(prefix="edgellm-") as folder:
        path = Path(folder) / "vocabulary.gguf"
        write_vocabulary_file(path, vocabulary)
        model = _load(path, overrides_prefix=rules is not None)
        try:
            yield _tokenize_with(llama.llama_model_get_vocab(model), rules)
        finally:
            llama.llama_model_free(model)


def _load(path: Path, *, overrides_prefix: bool) -> int:
    params = llama.llama_model_default_params()
    params.vocab_only = True
    overrides = (llama.llama_model_kv_override * 2)()  # the second, empty one ends the list
    overrides[0].key = _SPACE_PREFIX
    overrides[0].tag = llama.LLAMA_KV_OVERRIDE_TYPE_BOOL
    overrides[0].value.val_bool = False
    if overrides_prefix:
        params.kv_overrides = overrides
    with interrupts_held():
        model: int | None = llama.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise RuntimeFailure("llama.cpp", "cannot load the vocabulary that was made for it")
    return model


def _tokenize_with(vocab: int, rules: TextRules | None) -> Tokenize:
    def call(text: str, parse_special: bool) -> list[int]:
        raw = text.encode("utf-8")
        tokens = (llama.llama_token * (len(raw) + 8))()
        count = llama.llama_tokenize(
            vocab, raw, len(raw), tokens, len(tokens), False, parse_special
        )
        return list(tokens[: max(count, 0)])

    if rules is None:
        return call
    return lambda text, special: rules.token_ids(text, special, lambda part: call(part, False))
