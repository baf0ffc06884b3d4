"""Short answers of tiny models, and what those at temperature 0 are to be compared with."""

from pathlib import Path

from edgellm.events import Done
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.greedy import greedy_by_full_logits

EXACT = LoadOptions(key_format="f32", value_format="f32", ubatch=64)
STORY = "<|user|>Tell me of the long way home, of rain and of an old lamp.<|end|><|assistant|>"


def greedy(tokens: int) -> SamplingOptions:
    return SamplingOptions(temperature=0, repeat_penalty=1, max_tokens=tokens)


def answer(
    model: LlamaCppModel, prompt: str, sampling: SamplingOptions, grammar: str | None = None
) -> Done:
    """The end of an answer, which holds all of its text."""
    *_, done = model.generate(Request(prompt, sampling, grammar))
    assert isinstance(done, Done)
    return done


def ask(model: LlamaCppModel, prompt: str, tokens: int = 20) -> Done:
    return answer(model, prompt, greedy(tokens))


def assert_as_fresh(model: LlamaCppModel, done: Done, path: Path) -> None:
    """The answer is that of a new context for each token, after the same prompt."""
    held = model._sequences.current.tokens  # all but the last token, which was never computed
    prompt, generated = held[: done.usage.prompt_tokens], held[done.usage.prompt_tokens :]
    assert len(generated) == done.usage.generated_tokens - 1 > 3
    assert generated == greedy_by_full_logits(path, prompt, len(generated))
