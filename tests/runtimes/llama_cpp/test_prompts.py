"""Generated tokens are found again in a prompt, which says the same text as without them."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.prompts import read_prompt
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.transcript import Part, all_tokens, generated_part
from edgellm.runtimes.llama_cpp.vocabulary import Vocabulary
from edgellm.runtimes.options import LoadOptions
from tests.support.checkpoints import write_checkpoint
from tests.support.conversions import convert_folder
from tests.support.gguf import vocabulary as tiny_vocabulary
from tests.support.tokenizers import train_byte_level_bpe

TURN = "<|end|><|user|>more<|end|><|assistant|>"
PROMPT = "<|user|>hi<|end|><|assistant|>"
FIRST_PLAIN, N_TOKENS = 7, len(tiny_vocabulary()[0])
TOKENS = st.lists(st.integers(FIRST_PLAIN, N_TOKENS - 1), min_size=1, max_size=30)
RESTS = st.sampled_from(["", TURN, " and so on", "ing", "\n\nMore", "[x]", "e\u0301" + TURN])


def answered(vocabulary: Vocabulary, prompt: str, tokens: list[int]) -> tuple[Part, ...]:
    """What is known after an answer of these tokens."""
    asked = Part(prompt.encode(), tuple(vocabulary.prompt_tokens(prompt)))
    drop = vocabulary.begins_text(asked.tokens[-1])
    return (asked, generated_part(tokens, vocabulary.pieces(), drop_space=drop))


def text_of(vocabulary: Vocabulary, tokens: list[int]) -> str:
    """As a person reads it: sentencepiece's own space after a control token is none."""
    raw = b""
    for last, token in zip([1, *tokens], tokens, strict=False):
        piece = vocabulary.piece(token, special=token >= FIRST_PLAIN - 4)
        raw += piece.removeprefix(b" ") if last < FIRST_PLAIN else piece
    return raw.decode("utf-8", "replace")


@settings(max_examples=150, deadline=None)
@given(tokens=TOKENS, rest=RESTS, cut=st.integers(0, 40))
def test_a_prompt_read_with_what_was_generated_says_the_same(
    tiny: LlamaCppModel, tokens: list[int], rest: str, cut: int
) -> None:
    vocabulary = tiny._vocabulary
    known = answered(vocabulary, PROMPT, tokens)
    shown = known[1].text.decode()
    for prompt in (PROMPT + shown + rest, PROMPT + shown[:cut] + rest):
        read = all_tokens(read_prompt(prompt, vocabulary, [known]))
        assert text_of(vocabulary, read) == prompt
        assert text_of(vocabulary, vocabulary.prompt_tokens(prompt)) == prompt


@settings(max_examples=50, deadline=None)
@given(tokens=TOKENS)
def test_a_next_turn_keeps_every_token_that_was_shown(
    tiny: LlamaCppModel, tokens: list[int]
) -> None:
    asked, answer = known = answered(tiny._vocabulary, PROMPT, tokens)
    prompt = (asked.text + answer.text).decode() + TURN
    read = all_tokens(read_prompt(prompt, tiny._vocabulary, [known]))
    assert read[: len(asked.tokens) + len(answer.tokens)] == [*asked.tokens, *answer.tokens]


def test_a_byte_level_vocabulary_is_cut_at_any_space(tmp_path: Path) -> None:
    train_byte_level_bpe(tmp_path / "source", "llama3")
    write_checkpoint(tmp_path / "source", vocab_size=4096)
    artifact = convert_folder(tmp_path / "source", tmp_path / "out")
    with LlamaCppRuntime().load(artifact.gguf, LoadOptions(context=256, threads=1)) as model:
        vocabulary = model._vocabulary
        spelled = [vocabulary.tokenize(letter, parse_special=False)[0] for letter in "the end"]
        known = answered(vocabulary, "Say it: ", spelled)
        prompt = "Say it: the end and more"
        read = read_prompt(prompt, vocabulary, [known])
        assert [part.text for part in read] == [b"Say it: ", b"the end", b" and more"]
        assert (
            list(read[1].tokens) == spelled != vocabulary.tokenize("the end", parse_special=False)
        )
        pieces = [vocabulary.piece(token) for token in all_tokens(read)]
        assert b"".join(pieces).decode() == prompt


def test_the_longest_repeated_text_decides(tiny: LlamaCppModel) -> None:
    vocabulary = tiny._vocabulary
    bytes_of_ab = [0x61 + FIRST_PLAIN, 0x62 + FIRST_PLAIN]
    short = answered(vocabulary, PROMPT, bytes_of_ab[:1])
    long = answered(vocabulary, PROMPT, bytes_of_ab)
    read = read_prompt(PROMPT + "ab" + TURN, vocabulary, [short, long, short])
    assert list(read[1].tokens) == bytes_of_ab


def test_where_oldest_turns_are_missing_the_answers_left_are_found(tiny: LlamaCppModel) -> None:
    vocabulary = tiny._vocabulary
    spelled = [byte + FIRST_PLAIN for byte in b"spelled"]
    first = answered(vocabulary, "<|user|>old<|end|><|assistant|>", spelled)
    turn = Part(TURN.encode(), tuple(vocabulary.tokenize(TURN, parse_special=True)))
    second = generated_part(
        [byte + FIRST_PLAIN for byte in b"again"], vocabulary.pieces(), drop_space=True
    )
    prompt = "<|user|>more<|end|><|assistant|>again<|end|>"
    parts = read_prompt(prompt, vocabulary, [(*first, turn, second)], turns_missing=True)
    assert parts[1] == second
    assert b"".join(part.text for part in parts).decode() == prompt
    assert len(read_prompt(prompt, vocabulary, [(*first, turn, second)])) == 1
