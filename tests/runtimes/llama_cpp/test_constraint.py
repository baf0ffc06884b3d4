"""Answers under a grammar: only what it allows, and as likely as the model finds it."""

import ctypes
from collections import Counter

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest

from edgellm.errors import RuntimeFailure, UsageError
from edgellm.events import Done
from edgellm.runtimes.llama_cpp import constraint as constraints
from edgellm.runtimes.llama_cpp import sampling as samplings
from edgellm.runtimes.llama_cpp.constraint import Constraint
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.options import SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.runtimes.conftest import LoadTiny
from tests.support.answers import answer, greedy

WILD = SamplingOptions(temperature=1, top_k=0, top_p=1, min_p=0, repeat_penalty=1, max_tokens=50)
GREEDY = greedy(50)


def shaped(model: LlamaCppModel, grammar: str, sampling: SamplingOptions = WILD) -> Done:
    return answer(model, "hello", sampling, grammar)


def logits_of(model: LlamaCppModel) -> np.ndarray:
    """Of the token after the prompt, read around the engine's own code."""
    list(model.generate(Request("hello", SamplingOptions(max_tokens=1))))
    found = ctypes.cast(
        llama.llama_get_logits_ith(model._context.handle, -1), ctypes.POINTER(ctypes.c_float)
    )
    return np.ctypeslib.as_array(found, (model._vocabulary.n_tokens,)).astype(np.float64)


def spelling(model: LlamaCppModel, text: str) -> list[int]:
    """The tokens that stand for exactly this text."""
    words = model._vocabulary
    return [token for token in range(7, words.n_tokens) if words.piece(token) == text.encode()]


@pytest.mark.parametrize("sampling", [WILD, GREEDY])
def test_the_answer_ends_where_the_grammar_does(
    tiny: LlamaCppModel, sampling: SamplingOptions
) -> None:
    done = shaped(tiny, 'root ::= "yes, " [0-9]{3} "!"', sampling)
    assert done.text.startswith("yes, ")
    assert done.text[5:8].isdigit()
    assert done.text[8:] == "!"
    assert done.stop_reason == "end"


def test_allowed_tokens_are_taken_as_often_as_the_model_finds_them_likely(
    tiny: LlamaCppModel,
) -> None:
    logits = logits_of(tiny)
    weights = {c: np.exp(logits[spelling(tiny, c)]).sum() for c in "abc"}
    drawn = Counter(
        shaped(
            tiny,
            "root ::= [a-c]",
            SamplingOptions(
                temperature=1, top_k=0, top_p=1, min_p=0, repeat_penalty=1, seed=seed, max_tokens=1
            ),
        ).text
        for seed in range(600)
    )
    for letter, weight in weights.items():
        share = weight / sum(weights.values())
        error = (share * (1 - share) / 600) ** 0.5
        assert abs(drawn[letter] / 600 - share) < 4.5 * error


def test_the_likeliest_allowed_token_is_taken_at_temperature_0(tiny: LlamaCppModel) -> None:
    logits = logits_of(tiny)
    digits = {token: digit for digit in "0123456789" for token in spelling(tiny, digit)}
    best = max(digits, key=lambda token: logits[token])
    assert shaped(tiny, "root ::= [0-9]", GREEDY).text == digits[best]


@pytest.mark.parametrize("few", [1, 2, 100])
def test_what_is_allowed_is_found_however_unlikely_it_is(
    tiny: LlamaCppModel, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(samplings, "_FEW", few)
    assert shaped(tiny, 'root ::= "zq" [0-9] "#"', GREEDY).text[:2] == "zq"
    assert shaped(tiny, 'root ::= "zq" [0-9] "#"').text[3:] == "#"


def test_one_seed_gives_one_text(tiny: LlamaCppModel) -> None:
    texts = [
        shaped(tiny, "root ::= [a-z]{20}", SamplingOptions(seed=seed)).text for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_the_repeat_penalty_sees_the_tokens_that_were_taken_and_no_others(
    tiny: LlamaCppModel,
) -> None:
    strict = SamplingOptions(temperature=0, repeat_penalty=1e6, repeat_last_n=64)
    grammar = "root ::= [0-9]{30}"
    logits = logits_of(tiny)
    digits = [token for digit in "0123456789" for token in spelling(tiny, digit)]
    with (
        Constraint(grammar, tiny._vocabulary, tiny._context) as constraint,
        Sampler(strict, tiny._vocabulary.n_tokens, [1], constraint) as sampler,
    ):
        taken = [sampler.sample(tiny._context) for _ in range(20)]
    expected: list[int] = []
    for _ in range(20):
        seen = [1, *expected]
        fair = {
            t: logits[t] * (1e6 if logits[t] < 0 else 1e-6) if t in seen else logits[t]
            for t in digits
        }
        expected.append(max(fair, key=lambda token: fair[token]))
    assert taken == expected


def test_control_tokens_do_not_pass_for_their_text(tiny: LlamaCppModel) -> None:
    for seed in range(20):
        loud = SamplingOptions(temperature=5, top_k=0, top_p=1, min_p=0, seed=seed)
        assert shaped(tiny, 'root ::= "<|user|>"', loud).text == "<|user|>"


def test_a_shown_control_token_may_be_text(tiny: LlamaCppModel) -> None:
    grammar, words = 'root ::= "<|user|>"', tiny._vocabulary
    with Constraint(grammar, words, tiny._context, ("<|user|>",)) as constraint:
        assert constraint.allows(4)
    with Constraint(grammar, words, tiny._context) as constraint:
        assert not constraint.allows(4)


def test_bytes_that_are_no_text_are_never_taken(tiny: LlamaCppModel) -> None:
    for seed in range(40):
        loud = SamplingOptions(temperature=3, top_k=0, top_p=1, min_p=0, seed=seed, max_tokens=60)
        text = shaped(tiny, "root ::= [\\u0080-\\U0010FFFF]{8}", loud).text
        assert "\ufffd" not in text
        assert len(text) == 8


def test_end_tokens_of_the_file_alone_do_not_end_a_text_early(load_tiny: LoadTiny) -> None:
    model = load_tiny(extra=(("edgellm.eos_token_ids", list(range(300, 340))),))
    assert shaped(model, "root ::= [a-z!-@]{30}").text.isprintable()
    assert len(shaped(model, "root ::= [a-z!-@]{30}").text) == 30


def test_a_grammar_that_no_token_can_follow_is_an_engine_failure(tiny: LlamaCppModel) -> None:
    with pytest.raises(RuntimeFailure, match="vocabulary cannot write"):
        shaped(tiny, "root ::= [\\uD800]")


def test_a_grammar_that_takes_too_long_is_refused(
    tiny: LlamaCppModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints, "LIMIT_S", 0)
    with pytest.raises(UsageError, match="too many ways"):
        shaped(tiny, 'root ::= "a"')


def test_after_a_bad_grammar_the_model_answers_on(tiny: LlamaCppModel) -> None:
    with pytest.raises(UsageError, match="line 1"):
        shaped(tiny, "root ::= (")
    assert shaped(tiny, 'root ::= "ok"').text == "ok"
