"""How likely tokens were: compared with float64 over the logits of another context."""

from math import exp, fsum, log
from pathlib import Path

import numpy as np
import pytest

from edgellm.errors import UsageError
from edgellm.events import Done, TextDelta, TokenLikelihoods
from edgellm.runtimes.llama_cpp.likelihoods import likeliest, log_softmax
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.options import SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.greedy import last_logits


def reported(model: LlamaCppModel, request: Request) -> list[TokenLikelihoods]:
    deltas = [event for event in model.generate(request) if isinstance(event, TextDelta)]
    return [likely for delta in deltas for likely in delta.likelihoods]


def test_each_token_comes_with_its_log_probability_and_the_likeliest(
    tiny: LlamaCppModel, tiny_gguf: Path
) -> None:
    request = Request("hello", SamplingOptions(seed=4, temperature=3, max_tokens=5), logprobs=3)
    tokens = tiny.tokenize("hello")
    found = reported(tiny, request)
    assert len(found) == 5
    for likely in found:
        logits = last_logits(tiny_gguf, tokens).tolist()
        most = max(logits)
        total = most + log(fsum(exp(logit - most) for logit in logits))
        best = sorted(range(len(logits)), key=lambda token: -logits[token])[:3]
        assert [one.token for one in likely.top] == best
        for one in (likely.taken, *likely.top):
            assert one.logprob == pytest.approx(logits[one.token] - total, abs=2e-4)
        tokens.append(likely.taken.token)


def test_likelihoods_of_the_tokens_spell_the_answer(tiny: LlamaCppModel) -> None:
    request = Request("hello", SamplingOptions(seed=2, max_tokens=40), logprobs=0)
    found = reported(tiny, request)
    *_, done = tiny.generate(request)
    assert isinstance(done, Done)
    assert len(found) == done.usage.generated_tokens == 40
    assert all(likely.top == () for likely in found)
    pieces = [tiny._vocabulary.piece(likely.taken.token) for likely in found]
    assert b"".join(pieces).decode("utf-8", "replace").startswith(done.text)


def test_text_that_is_no_whole_character_is_shown_as_such(tiny: LlamaCppModel) -> None:
    found = reported(tiny, Request("hello", SamplingOptions(seed=2, max_tokens=5), logprobs=338))
    texts = {one.token: one.text for one in found[0].top}
    assert texts[7 + 0xE2] == "\ufffd"
    assert texts[6] == "<|end|>"


def test_nobody_pays_who_did_not_ask(tiny: LlamaCppModel) -> None:
    assert reported(tiny, Request("hello", SamplingOptions(seed=2, max_tokens=5))) == []


def test_fewer_than_no_likelihoods_are_refused(tiny: LlamaCppModel) -> None:
    with pytest.raises(UsageError, match="logprobs is -1"):
        reported(tiny, Request("hello", SamplingOptions(), logprobs=-1))


def test_a_log_softmax_is_exact_to_float64(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(0, 30, 5000).astype(np.float32)
    exact = [float(logit) for logit in logits]
    total = max(exact) + log(fsum(exp(logit - max(exact)) for logit in exact))
    np.testing.assert_allclose(
        log_softmax(logits), [logit - total for logit in exact], rtol=1e-13, atol=1e-13
    )


def test_the_likeliest_are_in_order_and_equals_by_number() -> None:
    assert likeliest(np.array([-3.0, -1.0, -2.0, -1.0, -1.0]), 2) == [1, 3]
    assert likeliest(np.array([-3.0, -1.0, -2.0]), 3) == [1, 2, 0]
    assert likeliest(np.array([-3.0]), 0) == []
